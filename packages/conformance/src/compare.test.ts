import type { DType, HostArray } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { type Compared, compareValues } from "./compare.ts";

function compared(
  got: readonly number[],
  wanted: readonly number[],
  bounds: readonly number[],
  rest: Partial<Pick<Compared, "shape" | "dtype">> = {},
): Compared {
  const arrays: Partial<Record<DType, (values: readonly number[]) => HostArray>> = {
    f16: (values) => Uint16Array.from(values),
    i32: (values) => Int32Array.from(values),
    bool: (values) => Uint32Array.from(values),
  };
  const dtype = rest.dtype ?? "f32";
  const array = arrays[dtype] ?? ((values) => Float64Array.from(values));
  return {
    got: array(got),
    wanted: array(wanted),
    bounds: Float64Array.from(bounds),
    shape: rest.shape ?? [got.length],
    dtype,
  };
}

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;

describe("compareValues", () => {
  it.each([
    { name: "equal values", got: [1, 2], wanted: [1, 2], bounds: [0, 0.1], maxErr: 0 },
    { name: "within", got: [1, 2.05], wanted: [1, 2], bounds: [0, 0.1], maxErr: 0.5 },
    { name: "at the bound", got: [1.25], wanted: [1], bounds: [0.25], maxErr: 1 },
    { name: "beyond", got: [1.5], wanted: [1], bounds: [0.25], maxErr: 2 },
    {
      name: "an exact one missed",
      got: [1 + 2 ** -50],
      wanted: [1],
      bounds: [0],
      maxErr: infinity,
    },
    { name: "zero of either sign", got: [-0], wanted: [0], bounds: [0], maxErr: 0 },
    { name: "NaN for NaN", got: [nan], wanted: [nan], bounds: [0], maxErr: 0 },
    { name: "NaN for a number", got: [nan], wanted: [1], bounds: [9], maxErr: infinity },
    { name: "a number for NaN", got: [1], wanted: [nan], bounds: [9], maxErr: infinity },
    { name: "NaN for ∞", got: [nan], wanted: [infinity], bounds: [0], maxErr: infinity },
    { name: "∞ for NaN", got: [infinity], wanted: [nan], bounds: [0], maxErr: infinity },
    { name: "∞ for ∞", got: [infinity], wanted: [infinity], bounds: [0], maxErr: 0 },
    { name: "−∞ for ∞", got: [-infinity], wanted: [infinity], bounds: [9], maxErr: infinity },
    { name: "∞ for a number", got: [infinity], wanted: [3e38], bounds: [1e37], maxErr: infinity },
    { name: "anything", got: [nan], wanted: [1], bounds: [infinity], maxErr: 0 },
    { name: "nothing", got: [], wanted: [], bounds: [], maxErr: 0 },
  ])("floats: $name", ({ got, wanted, bounds, maxErr }) => {
    const comparison = compareValues(compared(got, wanted, bounds));
    expect(comparison.maxErr).toBeCloseTo(maxErr, 12);
    expect(comparison.ok).toBe(comparison.maxErr <= 1);
  });

  it.each(["i32", "bool"] as const)("%s: exact, but where they may differ", (dtype) => {
    const exact = compareValues(compared([1, 0], [1, 1], [0, 0], { dtype }));
    expect(exact).toMatchObject({ ok: false, maxErr: infinity, ambiguous: 0 });
    expect(exact.worst).toEqual({ index: 1, got: 0, wanted: 1, bound: 0 });
    const uncertain = compareValues(compared([1, 0], [1, 1], [0, 1], { dtype }));
    expect(uncertain).toMatchObject({ ok: true, maxErr: 0, ambiguous: 1 });
  });

  it("f16: by value, not by bit pattern", () => {
    // 1, its next neighbour, and both zeros.
    const given = compared([0x3c01, 0x8000], [0x3c00, 0], [2 ** -10, 0], { dtype: "f16" });
    expect(compareValues(given)).toMatchObject({ ok: true, maxErr: 1 });
    expect(compareValues(given).worst).toMatchObject({ got: 1 + 2 ** -10, wanted: 1 });
  });

  it("gives the worst element, the first of several", () => {
    const { worst } = compareValues(compared([0, 3, 3], [0, 1, 1], [1, 1, 1]));
    expect(worst).toEqual({ index: 1, got: 3, wanted: 1, bound: 1 });
    expect(compareValues(compared([5], [5], [1])).worst).toMatchObject({ index: 0 });
  });

  it("one wrong row of thousands decides", () => {
    const count = 5000;
    const wanted = Array.from({ length: 2 * count }, (_, at) => at % 7);
    const got = wanted.with(7000, 100);
    const bounds = wanted.map(() => 0.01);
    const comparison = compareValues(compared(got, wanted, bounds, { shape: [count, 2] }));
    expect(comparison).toMatchObject({ ok: false, p999: 0 });
    expect(comparison.worst?.index).toBe(7000);
  });

  it.each([
    [1000, 999 / 1000],
    [2000, 1998 / 2000],
    [999, 1],
    [1, 1],
  ])("p999 of %i errors is that which 99.9 %% do not exceed", (count, share) => {
    // Errors 1/count … 1, in a scrambled order (7 has no factor in common with the counts).
    const got = Array.from({ length: count }, (_, at) => (((at * 7) % count) + 1) / count);
    const zeros = got.map(() => 0);
    const { p999, maxErr } = compareValues(
      compared(
        got,
        zeros,
        got.map(() => 1),
      ),
    );
    expect(maxErr).toBe(1);
    expect(p999).toBeCloseTo(share, 12);
  });

  it("counts bounds that say nothing, by the largest value of their row", () => {
    const given = compared(
      [10, 0, 1, 1, nan, 5],
      [10, 0, 1, 1, nan, 5],
      [0.9, 0.9, 0.2, 0.05, 0, infinity],
      { shape: [3, 2] },
    );
    // 0.9 is below a tenth of 10; 0.2 is above a tenth of 1; ∞ is above anything.
    expect(compareValues(given).ambiguous).toBe(2);
  });

  it("compares floats within a useless bound all the same", () => {
    const given = compared([1, 3], [1, 1], [0.5, 0.5]);
    expect(compareValues(given)).toMatchObject({ ok: false, maxErr: 4, ambiguous: 2 });
  });

  it("takes flushed subnormals of a zero row for no ambiguity", () => {
    const given = compared([0, 1e-39], [0, 0], [2 ** -126, 2 ** -126]);
    expect(compareValues(given)).toMatchObject({ ok: true, ambiguous: 0 });
  });

  it("ranks a million errors of two values at once", () => {
    const count = 1_000_000;
    const wanted = new Float64Array(count);
    const got = wanted.map((_, at) => at % 2);
    const bounds = wanted.map(() => 1);
    const { p999 } = compareValues({ got, wanted, bounds, shape: [count], dtype: "f64" });
    expect(p999).toBe(1);
  });
});
