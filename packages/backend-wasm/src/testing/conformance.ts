import { type ConformanceCase, runConformance } from "@moiety/conformance";
import { afterAll, beforeAll, describe, it } from "vitest";
import create, { loseDevice } from "../index.ts";
import type { WasmOptions } from "../options.ts";

/** Registers the kit's cases, and `extra` ones, whose ids begin so as tests. */
export function holdCases(
  prefixes: readonly string[],
  options: WasmOptions = {},
  extra: readonly ConformanceCase[] = [],
): void {
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
}
