import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, expect, it } from "vitest";

const run = promisify(execFile);
const MIB = 2 ** 20;
/** Milliseconds; some hundred megabytes are written, read and converted. */
const TIMEOUT = 120_000;
let folder = "";
let program = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "moiety-memory-test-"));
  program = join(folder, "load.mjs");
  const bundle = await rolldown({
    input: fileURLToPath(new URL("load.js", import.meta.url)),
    platform: "node",
    resolve: { conditionNames: ["@moiety/source", "module", "node", "import", "default"] },
  });
  const { output } = await bundle.generate({ format: "esm", codeSplitting: false });
  await bundle.close();
  await writeFile(program, output[0].code);
});
afterAll(() => rm(folder, { recursive: true }));

// One layer: its bank of gates takes 128 MiB in f32, twice what may be held.
it.each(["cpu", "wasm"])(
  "holds a few megabytes beside %s",
  async (backend) => {
    const options = ["--backend", backend, "--bytes", String(64 * MIB)];
    const { stdout } = await run(process.execPath, ["--expose-gc", program, ...options], {
      timeout: TIMEOUT,
    });
    const { largestTensorBytes, backendBytes, tensors, samples, peakBesideBackend } =
      JSON.parse(stdout);
    expect(backendBytes).toBeGreaterThan(190 * MIB);
    expect(samples).toBeGreaterThan(tensors);
    expect(peakBesideBackend).toBeLessThan(largestTensorBytes + 64 * MIB);
  },
  TIMEOUT,
);
