import { cpuDriver } from "@moiety/backend-cpu";
import { type Backend, type Capabilities, ConfigError, defineBackend } from "@moiety/core";
import { allOps } from "@moiety/core/ops";
import { describe, expect, it } from "vitest";
import { conform } from "./conform.ts";
import { inspectManifest } from "./manifest.ts";
import { fakeCase } from "./testing/fake-cases.ts";
import { spoiled } from "./testing/spoiled.ts";

const sound: Capabilities = cpuDriver().capabilities;

const inspect = (capabilities: unknown, name = "x"): ReturnType<typeof inspectManifest> =>
  inspectManifest({ name, capabilities: capabilities as Capabilities });

const contradictions: [string, Partial<Record<keyof Capabilities, unknown>>, RegExp][] = [
  ["an unknown op", { ops: ["matmul", "matmull"] }, /ops names "matmull", which there is not/],
  ["an op twice", { ops: ["fill", "fill"] }, /ops names "fill" twice/],
  ["ops that are no list", { ops: "matmul" }, /ops must be a list of names/],
  ["an unknown dtype", { dtypes: ["f32", "i32", "bool", "u32", "fp8"] }, /names "fp8"/],
  ["a dtype twice", { dtypes: [...sound.dtypes, "f32"] }, /dtypes names "f32" twice/],
  ["an unknown format", { formats: ["q9"] }, /formats names "q9"/],
  [
    "a fused format that is no format",
    { formats: ["mxfp4"], fusedFormats: ["mxfp4", "q8_row"] },
    /fusedFormats names "q8_row", which formats does not/,
  ],
  ["fused formats that are no list", { fusedFormats: "mxfp4" }, /fusedFormats must be a list/],
  [
    "a format that rounds activations without the one in which it is stored",
    { formats: ["q8_block32", "q4_block32_a8"] },
    /has the format q4_block32_a8 but not q4_block32, in which that is stored/,
  ],
  [
    "half floats as a format but no dtype",
    { formats: ["f16"], dtypes: sound.dtypes.filter((d) => d !== "f16") },
    /has the format f16 but not the dtype/,
  ],
  [
    "bindings above buffers",
    { limits: { bindingBytes: 200, bufferBytes: 100 } },
    /limits\.bindingBytes 200 is above limits\.bufferBytes 100/,
  ],
  [
    "formats without u8",
    { formats: ["q8_row"], dtypes: sound.dtypes.filter((d) => d !== "u8") },
    /not u8/,
  ],
  ["ops without a float", { dtypes: ["i32", "u32", "bool", "u8"] }, /neither f32 nor f64/],
  ["topK without i32", { dtypes: ["f32", "u32", "bool", "u8"] }, /has topK but not i32/],
  ["compare without bool", { dtypes: ["f32", "i32", "u32", "u8"] }, /has compare but not bool/],
  ["an accumulation that says nothing", { accumulation: { dtype: "f32", order: " " } }, /order/],
  ["an unknown accumulation", { accumulation: { dtype: "f8", order: "x" } }, /is f8/],
  ["no accumulation", { accumulation: undefined }, /accumulation\.dtype is undefined/],
  ["an unknown determinism", { determinism: "mostly" }, /determinism is mostly/],
  [
    "equal bits without determinism",
    { determinism: "none", batchInvariant: true },
    /"none" does not/,
  ],
  ["equal bits within tolerance", { determinism: "run", batchInvariant: true }, /"run" does not/],
  ["no batchInvariant", { batchInvariant: undefined }, /batchInvariant must be/],
  ["a limit of 0", { limits: { bufferBytes: 0 } }, /limits\.bufferBytes is 0/],
  ["a limit that is no number", { limits: { totalBytes: "1 GB" } }, /totalBytes is 1 GB/],
  ["a buffer above the total", { limits: { bufferBytes: 9, totalBytes: 8 } }, /9 is above/],
  ["no limits", { limits: undefined }, /limits must be an object/],
];

describe("inspectManifest", () => {
  it.each(contradictions)("finds %s", (_, change, message) => {
    const { problems } = inspect({ ...sound, ...change });
    expect(problems.join("; ")).toMatch(message);
  });

  it("finds nothing where there is nothing", () => {
    expect(inspect(sound)).toEqual({ problems: [], warnings: [] });
    expect(inspect({ ...sound, ops: allOps.map((op) => op.name) }).problems).toEqual([]);
    const least = { ...sound, ops: ["fill"], dtypes: ["f32"], formats: [], limits: {} };
    expect(inspect(least)).toEqual({ problems: [], warnings: [] });
    const rounding = { ...sound, formats: [...sound.formats, "q8_block32_a8", "q4_block32_a8"] };
    expect(inspect(rounding)).toEqual({ problems: [], warnings: [] });
    expect(inspect({ ...sound, ops: [...sound.ops, "acme/swizzle"] }).problems).toEqual([]);
  });

  it("finds what has no manifest or name at all", () => {
    expect(inspect(undefined).problems.join()).toMatch(/no capabilities/);
    expect(inspect(sound, "").problems.join()).toMatch(/no name/);
  });

  it("warns of half a fused op", () => {
    const { problems, warnings } = inspect({
      ...sound,
      ops: [...sound.ops, "moeFfn", "rmsNormBackward"],
    });
    expect(problems).toEqual([]);
    expect(warnings).toEqual([
      "it has rmsNormBackward but not rmsNorm: under a gradient both run decomposed",
      "it has moeFfn but not moeFfnBackward: under a gradient both run decomposed",
    ]);
  });
});

describe("conform", () => {
  const made = (change: Partial<Capabilities>): Promise<Backend> =>
    Promise.resolve(
      spoiled(({ capabilities }) => ({ capabilities: { ...capabilities, ...change } })),
    );
  const catalogue = [fakeCase("passes", () => {})];

  it("runs nothing on a contradiction, and says it in one line", async () => {
    const createBackend = (): Promise<Backend> =>
      made({ determinism: "none", batchInvariant: true, ops: ["fil"] });
    const running = conform({ createBackend, catalogue });
    await expect(running).rejects.toThrow(ConfigError);
    await expect(running).rejects.toThrow(
      /^the manifest of backend cpu contradicts itself: ops names "fil".*; batchInvariant promises[^\n]*$/,
    );
  });

  it("shows warnings in the report", async () => {
    const createBackend = (): Promise<Backend> => made({ ops: [...sound.ops, "moeFfn"] });
    const report = await conform({ createBackend, catalogue });
    expect(report.warnings).toHaveLength(1);
    expect(report.verdict).toBe("pass");
  });

  it("leaves a driver of another version to core", async () => {
    const createBackend = async (): Promise<Backend> =>
      defineBackend({ ...cpuDriver(), specVersion: 2 as 1, name: "later" });
    const report = await conform({ createBackend, catalogue });
    expect(report).toMatchObject({ verdict: "precondition" });
    expect(report.cases[0]?.reason).toMatch(/written for version 2/);
  });
});
