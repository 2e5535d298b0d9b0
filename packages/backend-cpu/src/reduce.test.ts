import { type Backend, type ReduceKind, type Shape, concat, cumsum, reduce } from "@moiety/core";
import { beforeAll, describe, expect, it } from "vitest";
import { create } from "./index.ts";
import { at, count, indicesOf, numbersOf, valuesOf } from "./testing/naive.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await create();
});

/** Reduces with one loop over the elements of each output, in row-major order. */
function naive(
  values: number[],
  shape: Shape,
  axes: readonly number[],
  step: (total: number, value: number) => number,
): number[] {
  const kept = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  const reduced = shape.map((size, axis) => (axes.includes(axis) ? size : 1));
  return indicesOf(kept).map((outer) => {
    let total = Number.NaN;
    for (const inner of indicesOf(reduced)) {
      const value = at(
        values,
        shape,
        outer.map((place, axis) => place + (inner[axis] ?? 0)),
      );
      total = Number.isNaN(total) ? value : step(total, value);
    }
    return total;
  });
}

const STEPS: Record<ReduceKind, (total: number, value: number) => number> = {
  sum: (total, value) => total + value,
  max: (total, value) => (value > total ? value : total),
  min: (total, value) => (value < total ? value : total),
};

const CASES: [Shape, number[]][] = [
  [[5], [0]],
  [[2500], [0]],
  [[3, 4], [1]],
  [[3, 4], [0]],
  [
    [3, 4],
    [0, 1],
  ],
  [[3, 4], []],
  [[3, 2500], [1]],
  [[3, 2500], [0]],
  [[2500, 3], [0]],
  [[2500, 3], [1]],
  [
    [2, 3, 4],
    [0, 2],
  ],
  [[2, 3, 4], [1]],
  [
    [2, 3, 4, 5],
    [1, 3],
  ],
  [
    [2, 3, 4, 5],
    [0, 2],
  ],
  [[2, 1100, 3], [1]],
  [
    [2, 3, 1100],
    [0, 2],
  ],
  [[4, 1, 5], [1]],
];

describe("reduce", () => {
  it.each(CASES)("%j over %j", async (shape, axes) => {
    const values = numbersOf(1, count(shape)).map(Math.fround);
    for (const kind of ["sum", "max", "min"] as const) {
      const expected = naive(values, shape, axes, STEPS[kind]);
      const wide = reduce(backend.tensor(values, { shape, dtype: "f64" }), { kind, axes });
      expect(wide.shape).toEqual(shape.filter((_, axis) => !axes.includes(axis)));
      expect(await valuesOf(wide)).toEqual(expected);
      const narrow = reduce(backend.tensor(values, { shape }), { kind, axes, keepDims: true });
      expect(narrow.shape).toEqual(shape.map((size, axis) => (axes.includes(axis) ? 1 : size)));
      expect(await valuesOf(narrow)).toEqual(expected.map(Math.fround));
    }
  });

  it("adds f32 in float64", async () => {
    const values = [1, ...Array.from({ length: 4096 }, () => 2 ** -26), -1];
    const out = reduce(backend.tensor(values), { kind: "sum", axes: [0] });
    expect(await valuesOf(out)).toEqual([2 ** -14]);
  });

  it("gives 0 for an empty sum, and nothing for no outputs", async () => {
    const empty = backend.tensor([], { shape: [2, 0], dtype: "f32" });
    expect(await valuesOf(reduce(empty, { kind: "sum", axes: [1] }))).toEqual([0, 0]);
    expect(await valuesOf(reduce(empty, { kind: "max", axes: [0] }))).toEqual([]);
    expect(() => reduce(empty, { kind: "max", axes: [1] })).toThrow(/empty set/);
  });

  it("lets NaN lose to every number in extremes, and win in sums", async () => {
    const x = backend.tensor([NaN, -Infinity, NaN, NaN, 1, NaN, 2, 3], { shape: [4, 2] });
    expect(await valuesOf(reduce(x, { kind: "max", axes: [1] }))).toEqual([-Infinity, NaN, 1, 3]);
    expect(await valuesOf(reduce(x, { kind: "min", axes: [1] }))).toEqual([-Infinity, NaN, 1, 2]);
    expect(await valuesOf(reduce(x, { kind: "max", axes: [0] }))).toEqual([2, 3]);
    expect(await valuesOf(reduce(x, { kind: "min", axes: [0] }))).toEqual([1, -Infinity]);
    expect(await valuesOf(reduce(x, { kind: "sum", axes: [1] }))).toEqual([NaN, NaN, NaN, 5]);
  });

  it("keeps the first of equal extremes", async () => {
    const x = backend.tensor([-0, 0, 0, -0], { shape: [2, 2] });
    const [first, second] = await valuesOf(reduce(x, { kind: "max", axes: [1] }));
    expect([Object.is(first, -0), Object.is(second, 0)]).toEqual([true, true]);
  });

  it("wraps integer sums", async () => {
    const signed = backend.tensor([2 ** 31 - 1, 1, -5, -(2 ** 31)], {
      dtype: "i32",
      shape: [2, 2],
    });
    expect(await valuesOf(reduce(signed, { kind: "sum", axes: [1] }))).toEqual([
      -(2 ** 31),
      2 ** 31 - 5,
    ]);
    expect(await valuesOf(reduce(signed, { kind: "sum", axes: [0] }))).toEqual([
      2 ** 31 - 6,
      -(2 ** 31) + 1,
    ]);
    const words = backend.tensor([2 ** 32 - 1, 3, 2 ** 31], { dtype: "u32" });
    expect(await valuesOf(reduce(words, { kind: "sum", axes: [0] }))).toEqual([2 ** 31 + 2]);
    expect(await valuesOf(reduce(words, { kind: "max", axes: [0] }))).toEqual([2 ** 32 - 1]);
  });
});

describe("long integer sums", () => {
  it("stay exact where float64 would round", async () => {
    const count = 2 ** 22 + 1;
    const words = backend.tensor(new Uint32Array(count).fill(2 ** 32 - 1), { shape: [count, 1] });
    const expected = 2 ** 32 - count;
    expect(await valuesOf(reduce(words, { kind: "sum", axes: [0] }))).toEqual([expected]);
    const twice = reduce(concat(words, words, { axis: 1 }), { kind: "sum", axes: [0] });
    expect(await valuesOf(twice)).toEqual([expected, expected]);
    const running = await cumsum(words, { axis: 0 }).read();
    expect(running[count - 1]).toBe(expected);
  });
});

describe("cumsum", () => {
  const shapes: [Shape, number][] = [
    [[6], 0],
    [[3, 4], 0],
    [[3, 4], 1],
    [[2, 3, 4], 1],
    [[2, 0, 3], 1],
    [[0], 0],
  ];
  it.each(shapes)("%j along %j", async (shape, axis) => {
    const values = numbersOf(2, count(shape));
    for (const exclusive of [false, true]) {
      for (const reverse of [false, true]) {
        const expected = indicesOf(shape).map((index) => {
          const size = shape[axis] ?? 0;
          const places = Array.from({ length: size }, (_, place) => place);
          if (reverse) places.reverse();
          const end = places.indexOf(index[axis] ?? 0) + (exclusive ? 0 : 1);
          return places
            .slice(0, end)
            .reduce((total, place) => total + at(values, shape, index.with(axis, place)), 0);
        });
        const out = cumsum(backend.tensor(values, { shape, dtype: "f64" }), {
          axis,
          exclusive,
          reverse,
        });
        expect(await valuesOf(out)).toEqual(expected);
      }
    }
  });

  it("accumulates f32 in float64 and wraps integers", async () => {
    const small = Array.from({ length: 64 }, () => 2 ** -26);
    const out = await valuesOf(cumsum(backend.tensor([1, ...small]), { axis: 0 }));
    expect(out.at(-1)).toBe(1 + 2 ** -20);
    const words = backend.tensor([2 ** 32 - 1, 2, 5], { dtype: "u32" });
    expect(await valuesOf(cumsum(words, { axis: 0 }))).toEqual([2 ** 32 - 1, 1, 6]);
    const signed = backend.tensor([2 ** 31 - 1, 2, 5], { dtype: "i32" });
    expect(await valuesOf(cumsum(signed, { axis: 0 }))).toEqual([
      2 ** 31 - 1,
      -(2 ** 31) + 1,
      -(2 ** 31) + 6,
    ]);
  });
});
