import { type ConformanceCase, runConformance } from "@moiety/conformance";
import { afterAll, beforeAll, describe, it } from "vitest";
import create, { loseDevice } from "../index.ts";
import type { WebGpuOptions } from "../options.ts";
import { requireWebGpu } from "./adapter.ts";

/**
 * Registers the kit's cases, and `extra` ones, whose ids begin so as tests, each on the adapter of
 * this machine.
 */
export async function holdCases(
  prefixes: readonly string[],
  options: WebGpuOptions = {},
  extra: readonly ConformanceCase[] = [],
): Promise<void> {
  const gpu = await requireWebGpu();
  describe.skipIf(!gpu.available)("the WebGPU backend", () => {
    runConformance(
      { describe, it, beforeAll, afterAll },
      {
        createBackend: () => create(options),
        profile: "full",
        cases: prefixes,
        extra,
        loseDevice,
        requireDevice: true,
      },
    );
  });
}
