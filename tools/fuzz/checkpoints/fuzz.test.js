import createCpu from "@moiety/backend-cpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCase, runFolder } from "./run-case.js";
import { sampleFolders } from "./samples.js";

const RUNS = 10_000;
/** Milliseconds, on a machine that does other things beside. */
const TIMEOUT = 240_000;

/** @type {import("@moiety/core").Backend} */
let backend;
/** @type {import("./minimal-reader.js").Files[]} */
let samples;
beforeAll(async () => {
  backend = await createCpu();
  samples = await sampleFolders();
});
afterAll(() => backend.dispose());

it("reads the samples as they are, and loads the models among them", async () => {
  for (const [index, files] of samples.entries()) {
    expect(await runFolder(files, backend, false), `sample ${index}`).toBe("same");
    const model = await runFolder(files, backend, true);
    expect(model, `sample ${index}`).toBe(index < 4 ? "same" : "CheckpointMismatchError");
  }
});

it(
  "refuses damaged checkpoints by name, or reads them as they are",
  async () => {
    /** @type {Record<string, number>} */
    const outcomes = {};
    for (let seed = 1; seed <= RUNS; seed++) {
      const outcome = await runCase(samples, seed, backend).catch((error) => {
        throw new Error(`seed ${seed}: ${error.message}`, { cause: error });
      });
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }
    // All kinds of outcomes were among them, so the damage is neither too small nor too large.
    for (const name of ["same", "FormatError", "ConfigError", "CheckpointMismatchError"]) {
      expect(outcomes[name], name).toBeGreaterThan(RUNS / 100);
    }
  },
  TIMEOUT,
);

describe("the check bites", () => {
  /**
   * The first sample, as a reader with a fault of its own gives it.
   *
   * @param {(bytes: Uint8Array) => Uint8Array} fault
   */
  const withFault = (fault) => {
    const files = new Map(samples[0]);
    const bytes = files.get("model.safetensors") ?? new Uint8Array();
    // The library reads by ranges and the minimal reader whole: what is wrong in ranges alone is found.
    const wrong = Object.assign(bytes.slice(), {
      /** @type {(from?: number, to?: number) => Uint8Array<ArrayBuffer>} */
      slice: (from, to) => Uint8Array.from(fault(bytes.slice(from, to))),
    });
    return files.set("model.safetensors", wrong);
  };

  it.each([false, true])("on one wrong byte (as a model: %s)", async (isModel) => {
    const files = withFault((bytes) => (bytes.length === 128 ? bytes.fill(1, 5, 6) : bytes));
    await expect(runFolder(files, backend, isModel)).rejects.toThrow(/has other (bytes|values)/);
  });

  it("on an error without a name", async () => {
    const files = withFault(() => {
      throw new RangeError("out of range");
    });
    await expect(runFolder(files, backend, false)).rejects.toThrow("out of range");
  });

  it("on an array that is larger than the files", async () => {
    const files = withFault((bytes) => new Uint8Array(bytes.length + 2 ** 30));
    await expect(runFolder(files, backend, false)).rejects.toThrow(/bytes were asked for/);
  });
});
