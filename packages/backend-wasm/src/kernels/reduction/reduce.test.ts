import {
  type ReduceKind,
  type Shape,
  cumsum,
  donate,
  hostBits,
  randomKey,
  reduce,
  sizeOf,
} from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

const KINDS: readonly ReduceKind[] = ["sum", "max", "min"];

const CASES: readonly { readonly shape: Shape; readonly axes: readonly number[] }[] = [
  { shape: [], axes: [] },
  { shape: [7], axes: [0] },
  { shape: [7], axes: [] },
  { shape: [1, 5, 1], axes: [0, 2] },
  { shape: [4, 64], axes: [1] },
  { shape: [5, 17], axes: [1] },
  { shape: [3, 260], axes: [1] },
  { shape: [2, 20_001], axes: [1] },
  { shape: [40_000], axes: [0] },
  { shape: [300, 8], axes: [0] },
  { shape: [300, 7], axes: [0] },
  { shape: [17, 19], axes: [0] },
  { shape: [5000, 2], axes: [0] },
  { shape: [700, 131], axes: [0] },
  { shape: [40, 1003], axes: [0] },
  { shape: [3, 70, 4], axes: [1] },
  { shape: [3, 300, 5], axes: [1] },
  { shape: [3, 4, 5], axes: [0, 1] },
  { shape: [3, 4, 5], axes: [1, 2] },
  { shape: [3, 4, 5], axes: [0, 1, 2] },
  { shape: [3, 4, 5], axes: [0, 2] },
  { shape: [2, 3, 4, 5, 6], axes: [0, 2, 4] },
  { shape: [2, 3, 4, 5, 6], axes: [1, 3] },
  { shape: [2, 1, 4, 1, 6], axes: [0, 1, 2] },
  { shape: [4000, 3], axes: [1] },
];

describe("reduce and cumsum", () => {
  let pair: Pair;
  let alone: Pair;
  beforeAll(async () => {
    [pair, alone] = await Promise.all([createPair({ threads: 3 }), createPair({ threads: 1 })]);
  });
  afterAll(() => Promise.all([pair.dispose(), alone.dispose()]));

  it.each(CASES)("reduces $shape over $axes", async ({ shape, axes }) => {
    await pair.agree((backend) => {
      const floats = randomTensor(backend, 1, shape);
      const bits = hostBits(randomKey(2), sizeOf(shape));
      const signed = backend.tensor(Int32Array.from(bits), { shape });
      const unsigned = backend.tensor(bits, { shape });
      return KINDS.flatMap((kind) => [
        reduce(floats, { kind, axes }),
        reduce(signed, { kind, axes, keepDims: true }),
        reduce(unsigned, { kind, axes }),
      ]);
    }, 3e-6);
  });

  it("has exact extremes: NaN loses, signs and subnormals count", async () => {
    const rows = [
      [Number.NaN, 1, -2],
      [Number.NaN, Number.NaN, Number.NaN],
      [Number.NaN, -Infinity, -Infinity],
      [-1, Number.NaN, -3],
      [1e-42, 2e-42, -1e-42],
      [Infinity, 3e38, Number.NaN],
    ];
    await pair.agree((backend) => {
      const x = backend.tensor(Float32Array.from(rows.flat()), { shape: [6, 3] });
      return (["max", "min"] as const).flatMap((kind) => [
        reduce(x, { kind, axes: [0] }),
        reduce(x, { kind, axes: [1] }),
        reduce(x, { kind, axes: [0, 1] }),
      ]);
    }, 0);
  });

  it("gives NaN where a sum holds one, and nowhere else", async () => {
    await pair.agree((backend) => {
      const values = Float32Array.from({ length: 399 }, (_, at) => (at === 123 ? Number.NaN : at));
      const x = backend.tensor(values, { shape: [19, 21] });
      return [reduce(x, { kind: "sum", axes: [0] }), reduce(x, { kind: "sum", axes: [1] })];
    });
  });

  it("sums nothing to 0", async () => {
    await pair.agree((backend) => {
      const x = backend.tensor(new Float32Array(0), { shape: [3, 0, 2] });
      return [
        reduce(x, { kind: "sum", axes: [1] }),
        reduce(x, { kind: "sum", axes: [0, 1, 2] }),
        reduce(x, { kind: "max", axes: [0] }),
        cumsum(x, { axis: 1 }),
      ];
    });
  });

  it.each([5, 65, 300, 40_000])(
    "has one order for rows and one for columns of %i elements, however many there are",
    async (length) => {
      const values = await randomTensor(pair.wasm, 5, [length]).read();
      const found = new Map<string, Set<number>>();
      for (const { wasm } of [pair, alone]) {
        for (const count of length > 1000 ? [2, 5] : [2, 3, 70]) {
          const rows = new Float32Array(length * count);
          const columns = new Float32Array(length * count);
          for (let index = 0; index < length; index++) {
            for (let copy = 0; copy < count; copy++) {
              rows[copy * length + index] = values[index] ?? 0;
              columns[index * count + copy] = values[index] ?? 0;
            }
          }
          const sums = {
            rows: reduce(wasm.tensor(rows, { shape: [count, length] }), { kind: "sum", axes: [1] }),
            columns: reduce(wasm.tensor(columns, { shape: [length, count] }), {
              kind: "sum",
              axes: [0],
            }),
            running: cumsum(wasm.tensor(rows, { shape: [count, length] }), { axis: 1 }),
          };
          for (const [name, sum] of Object.entries(sums)) {
            const read = [...(await sum.read())];
            const seen = found.get(name) ?? new Set();
            found.set(name, seen);
            for (const value of name === "running" ? [read.at(-1) ?? 0] : read) seen.add(value);
            sum.dispose();
          }
        }
      }
      expect([...found.values()].map(({ size }) => size)).toEqual([1, 1, 1]);
    },
  );

  it("adds long rows and columns of equal signs as blocks do", async () => {
    const length = 200_000;
    const values = new Float32Array(length).fill(0.1);
    const wanted = Math.fround(0.1) * length;
    const [sum = 0] = await reduce(pair.wasm.tensor(values), { kind: "sum", axes: [0] }).read();
    expect(Math.abs(sum - wanted) / wanted).toBeLessThan(1e-5);
    const columns = pair.wasm.tensor(values, { shape: [length / 2, 2] });
    const [half = 0] = await reduce(columns, { kind: "sum", axes: [0] }).read();
    expect(Math.abs(2 * half - wanted) / wanted).toBeLessThan(1e-5);
  });

  it.each([
    { shape: [5], axis: 0 },
    { shape: [1000], axis: 0 },
    { shape: [3, 200, 4], axis: 1 },
    { shape: [200, 3], axis: 0 },
    { shape: [3, 200], axis: 1 },
    { shape: [300, 70], axis: 1 },
    { shape: [9, 2500], axis: 0 },
    { shape: [4, 0], axis: 1 },
    { shape: [2, 3, 4], axis: 0 },
  ])("makes running sums of $shape along $axis", async ({ shape, axis }) => {
    await pair.agree((backend) => {
      const bits = hostBits(randomKey(3), sizeOf(shape));
      const tensors = [
        randomTensor(backend, 4, shape),
        backend.tensor(Int32Array.from(bits), { shape }),
        backend.tensor(bits, { shape }),
      ];
      return tensors.flatMap((x) => [
        cumsum(x, { axis }),
        cumsum(x, { axis, exclusive: true }),
        cumsum(x, { axis, reverse: true }),
        cumsum(x, { axis, exclusive: true, reverse: true }),
      ]);
    }, 1e-5);
  });

  it.each([false, true])("makes running sums in place, exclusive: %s", async (exclusive) => {
    await pair.agree((backend) => {
      const x = backend.tensor(
        Int32Array.from({ length: 63 }, (_, at) => at),
        { shape: [9, 7] },
      );
      return cumsum(donate(x), { axis: 0, exclusive, reverse: true });
    });
  });
});
