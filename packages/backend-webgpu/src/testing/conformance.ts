import { runConformance } from "@moiety/conformance";
import { afterAll, beforeAll, describe, it } from "vitest";
import create, { loseDevice } from "../index.ts";
import { requireWebGpu } from "./adapter.ts";

/** Registers the kit's cases of one level as tests, each on the adapter of this machine. */
export async function holdLevel(prefix: string): Promise<void> {
  const gpu = await requireWebGpu();
  describe.skipIf(!gpu.available)("the WebGPU backend", () => {
    runConformance(
      { describe, it, beforeAll, afterAll },
      {
        createBackend: () => create(),
        profile: "full",
        cases: [prefix],
        loseDevice,
        requireDevice: true,
      },
    );
  });
}
