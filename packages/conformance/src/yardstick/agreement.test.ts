import { create } from "@moiety/backend-cpu";
import { type Backend, type FloatDType, type Tensor, isFloat } from "@moiety/core";
import { allOps } from "@moiety/core/ops";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { compareValues } from "../compare.ts";
import { createYardstick } from "./index.ts";
import { KERNELS } from "./kernels.ts";
import { Draw, type Values } from "./testing/draw.ts";
import { SAMPLES, type Sample, inF64 } from "./testing/samples.ts";

const required = allOps.filter((op) => op.identity.kernel !== "optional");
const names = required.map((op) => op.name);
const seeds = fc.integer({ min: 0, max: 2 ** 30 });
const oracle = await create();
const { backend: yardstick, boundsOf } = createYardstick({ accumulation: "f32", storage: "f32" });

afterAll(async () => {
  await oracle.dispose();
  await yardstick.dispose();
});

function upload(backend: Backend, float: FloatDType, { data, shape, dtype }: Values): Tensor {
  const isHalf = dtype === "f16" || dtype === "bf16";
  return backend.tensor(isHalf ? Uint16Array.from(data) : data, {
    shape,
    dtype: dtype === "f32" ? float : dtype,
  });
}

/** Calls an op on random inputs; its floats are f32 or f64. */
function callOn(
  backend: Backend,
  float: FloatDType,
  name: string,
  { inputs, attributes }: Sample,
): readonly Tensor[] {
  const op = required.find((one) => one.name === name) as unknown as (
    ...args: readonly unknown[]
  ) => Tensor | readonly Tensor[];
  const tensors = inputs.map((input) => input && upload(backend, float, input));
  const first = tensors.length === 0 ? [backend] : tensors;
  const result = op(...first, float === "f64" ? inF64(attributes) : attributes);
  return Array.isArray(result) ? result : [result as Tensor];
}

const sampleOf = (name: string, seed: number): Sample =>
  SAMPLES[name]?.(new Draw(seed)) ?? { inputs: [], attributes: {} };

/** Elements that differ by more than the rounding of one operation or sum. */
async function differences(found: Tensor, wanted: Tensor): Promise<object[]> {
  const [a, b] = [await found.read(), await wanted.read()];
  const tolerance = found.dtype === "f64" ? 1e-12 : found.dtype === "f32" ? 2 ** -23 : 0;
  const sizes = Array.from(b, Math.abs).filter(Number.isFinite);
  const largest = isFloat(found.dtype) ? Math.max(0, ...sizes) : 0;
  return Array.from(a, (value, at) => ({ at, value, wanted: b[at] ?? Number.NaN })).filter(
    ({ value, wanted: other }) =>
      value !== other &&
      !(Number.isNaN(value) && Number.isNaN(other)) &&
      !(Math.abs(value - other) <= tolerance * largest),
  );
}

describe("the yardstick's kernels", () => {
  it("are those that have no decomposition, and all are tried here", () => {
    expect(Object.keys(KERNELS).toSorted()).toEqual(names.toSorted());
    expect(Object.keys(SAMPLES).toSorted()).toEqual(names.toSorted());
  });

  it.each(names)("agree with the oracle: %s", async (name) => {
    const property = fc.asyncProperty(seeds, fc.boolean(), async (seed, wide) => {
      const float = wide ? "f64" : "f32";
      const sample = sampleOf(name, seed);
      const wanted = callOn(oracle, float, name, sample);
      const found = callOn(yardstick, float, name, sample);
      expect(found.length).toBe(wanted.length);
      for (const [index, tensor] of found.entries()) {
        const other = wanted[index] as Tensor;
        expect([tensor.shape, tensor.dtype]).toEqual([other.shape, other.dtype]);
        expect(await differences(tensor, other)).toEqual([]);
        // Neither NaN nor below 0.
        expect((await boundsOf(tensor)).every((bound) => bound >= 0)).toBe(true);
      }
    });
    await fc.assert(property, { numRuns: 60, seed: 7 });
  });
});

describe("the oracle's kernels in f32", () => {
  it.each(names)("are within the yardstick's bounds: %s", async (name) => {
    const property = fc.asyncProperty(seeds, async (seed) => {
      const sample = sampleOf(name, seed);
      const found = callOn(oracle, "f32", name, sample);
      const wanted = callOn(yardstick, "f64", name, sample);
      for (const [index, tensor] of found.entries()) {
        const other = wanted[index] as Tensor;
        const comparison = compareValues({
          got: await tensor.read(),
          wanted: await other.read(),
          bounds: await boundsOf(other),
          shape: tensor.shape,
          dtype: tensor.dtype,
        });
        expect(comparison).toMatchObject({ ok: true });
      }
    });
    await fc.assert(property, { numRuns: 60, seed: 8 });
  });
});
