import { create } from "@moiety/backend-cpu";
import { type Backend, type Tensor, matmul, sum } from "@moiety/core";
import { afterAll, describe, expect, it } from "vitest";
import { Draw, type Values } from "./testing/draw.ts";
import { type Found, type Program, bounded, compareAll, run } from "./testing/measure.ts";
import { examples } from "./testing/programs.ts";
import { simulatedBackend, toF16 } from "./testing/simulated.ts";

const oracle = await create();
const honest: Readonly<Record<string, Backend>> = {
  "the oracle in f32": oracle,
  "serial sums in f32": simulatedBackend({ accumulate: Math.fround }),
  "serial sums and noisy functions": simulatedBackend({ accumulate: Math.fround, noise: true }),
};
const inHalf = simulatedBackend({ accumulate: toF16 });
const withoutLast = simulatedBackend({ accumulate: Math.fround, dropsLast: true });

afterAll(async () => {
  for (const backend of [...Object.values(honest), inHalf, withoutLast]) await backend.dispose();
});

describe.each(examples(3))("$name", ({ inputs, program, ambiguous = {} }) => {
  it("is the same on the oracle in f64", async () => {
    const wanted = await run(oracle, "f64", inputs, program);
    const found = await bounded(inputs, program);
    expect(Object.keys(found)).toEqual(Object.keys(wanted));
    for (const [name, { data }] of Object.entries(found)) {
      const other = wanted[name]?.data ?? new Float64Array(0);
      expect(data.length).toBe(other.length);
      const largest = Math.max(...Array.from(other, Math.abs));
      const errors = Array.from(data, (value, at) => Math.abs(value - (other[at] ?? Number.NaN)));
      expect(Math.max(...errors)).toBeLessThanOrEqual(1e-12 * largest);
    }
  });

  it.each(Object.entries(honest))("has bounds that hold for %s", async (_, backend) => {
    const wanted = await bounded(inputs, program);
    const comparisons = compareAll(await run(backend, "f32", inputs, program), wanted);
    for (const [name, comparison] of Object.entries(comparisons)) {
      expect({ name, ...comparison }).toMatchObject({
        name,
        ok: true,
        ambiguous: ambiguous[name] ?? 0,
      });
    }
  });
});

const product: Program = (_, __, [a, b]) => ({ y: matmul(a as Tensor, b as Tensor) });
const total: Program = (_, __, [x]) => ({ y: sum(x as Tensor, [-1]) });

/** Two of a result's rows in each other's place. */
function swapped({ data, ...rest }: Found): Found {
  const width = rest.shape.at(-1) ?? 0;
  const moved = data.slice();
  moved.set(data.subarray(0, width), 3 * width);
  moved.set(data.subarray(3 * width, 4 * width), 0);
  return { ...rest, data: moved };
}

describe.each([64, 257, 1024, 4096])("products and sums of K = %i", (inner) => {
  const draw = new Draw(inner);
  const signed = [draw.floats([6, inner]), draw.floats([inner, 9])];
  // Rounding errors of a serial sum drift where all is positive.
  const positive = [draw.positive([6, inner]), draw.positive([inner, 9])];

  it.each([
    ["signed", signed],
    ["positive", positive],
  ] as const)("have bounds that hold: %s", async (_, inputs) => {
    for (const [program, given] of [
      [product, inputs] as const,
      [total, inputs.slice(0, 1)] as const,
    ]) {
      const wanted = await bounded(given, program);
      for (const backend of Object.values(honest)) {
        const { y } = compareAll(await run(backend, "f32", given, program), wanted);
        expect(y).toMatchObject({ ok: true, ambiguous: 0 });
      }
    }
  });

  it.each([
    ["signed", signed],
    ["positive", positive],
  ] as const)("catch sums in f16: %s", async (_, inputs) => {
    // Of positive numbers, sums of thousands are beyond f16's range.
    const given: Values[] = inputs.map((input) => ({
      ...input,
      data: input.data.map((value) => value / 16),
    }));
    for (const [program, some] of [
      [product, given] as const,
      [total, given.slice(0, 1)] as const,
    ]) {
      const found = await run(inHalf, "f32", some, program);
      const { y } = compareAll(found, await bounded(some, program));
      expect(y?.maxErr).toBeGreaterThan(10);
      // Declared, they pass, unless the sum outgrows its terms so far that it stands still.
      if (inner > 1024) continue;
      const declared = compareAll(found, await bounded(some, program, "f16"));
      expect(declared["y"]?.ok).toBe(true);
    }
  });

  it("catch a forgotten last term, and one swapped row", async () => {
    const wanted = await bounded(signed, product);
    const forgotten = compareAll(await run(withoutLast, "f32", signed, product), wanted);
    expect(forgotten["y"]?.maxErr).toBeGreaterThan(10);
    const { y } = await run(oracle, "f32", signed, product);
    expect(compareAll({ y: y as Found }, wanted)["y"]?.ok).toBe(true);
    expect(compareAll({ y: swapped(y as Found) }, wanted)["y"]?.maxErr).toBeGreaterThan(1000);
  });
});
