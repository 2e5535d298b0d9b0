import { type Backend, type Shape, concat, matmul, slice } from "@moiety/core";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { create } from "./index.ts";
import { at, count, indicesOf, numbersOf, valuesOf } from "./testing/naive.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await create();
});

interface Factor {
  readonly values: number[];
  readonly shape: Shape;
  readonly transposed: boolean;
}

function element({ values, shape, transposed }: Factor, index: readonly number[]): number {
  const batch = index.slice(0, -2);
  const [row = 0, column = 0] = index.slice(-2);
  return at(values, shape, transposed ? [...batch, column, row] : [...batch, row, column]);
}

/** Three nested loops, products added in ascending k. */
function naive(
  a: Factor,
  b: Factor,
  batch: Shape,
  rows: number,
  inner: number,
  columns: number,
): number[] {
  return indicesOf([...batch, rows, columns]).map((index) => {
    const row = index.at(-2) ?? 0;
    const column = index.at(-1) ?? 0;
    let sum = 0;
    for (let k = 0; k < inner; k++) {
      const outer = index.slice(0, -2);
      sum += element(a, [...outer, row, k]) * element(b, [...outer, k, column]);
    }
    return sum;
  });
}

const LAYOUTS = [
  [false, false],
  [false, true],
  [true, false],
  [true, true],
] as const;

const SIZES: [Shape, Shape, Shape, number, number, number][] = [
  [[], [], [], 1, 1, 1],
  [[], [], [], 3, 5, 2],
  [[], [], [], 4, 4, 4],
  [[], [], [], 7, 9, 66],
  [[], [], [], 259, 3, 5],
  [[], [], [], 5, 130, 3],
  [[], [], [], 0, 3, 4],
  [[], [], [], 3, 0, 4],
  [[], [], [], 3, 4, 0],
  [[2], [2], [2], 3, 5, 6],
  [[2], [1], [2], 3, 5, 6],
  [[2], [], [2], 5, 5, 6],
  [[], [3], [3], 2, 4, 3],
  [[2, 1], [3], [2, 3], 3, 2, 5],
  [[2, 3], [2, 1], [2, 3], 6, 2, 3],
  [[0], [], [0], 2, 2, 2],
];

describe("matmul", () => {
  describe.each(LAYOUTS)("transposeA %j, transposeB %j", (transposeA, transposeB) => {
    it.each(SIZES)(
      "batch %j × %j = %j, %i × %i × %i",
      async (batchA, batchB, batch, rows, inner, columns) => {
        const shapeA = [...batchA, ...(transposeA ? [inner, rows] : [rows, inner])];
        const shapeB = [...batchB, ...(transposeB ? [columns, inner] : [inner, columns])];
        const a = {
          values: numbersOf(1, count(shapeA)).map(Math.fround),
          shape: shapeA,
          transposed: transposeA,
        };
        const b = {
          values: numbersOf(2, count(shapeB)).map(Math.fround),
          shape: shapeB,
          transposed: transposeB,
        };
        const expected = naive(a, b, batch, rows, inner, columns);
        for (const dtype of ["f64", "f32"] as const) {
          const left = backend.tensor(a.values, { shape: shapeA, dtype });
          const right = backend.tensor(b.values, { shape: shapeB, dtype });
          const out = matmul(left, right, { transposeA, transposeB });
          expect(out.shape).toEqual([...batch, rows, columns]);
          const rounded = dtype === "f64" ? expected : expected.map(Math.fround);
          expect(await valuesOf(out)).toEqual(rounded);
        }
      },
    );
  });

  it("gives a row the same bits whatever else is in the batch", async () => {
    const inner = 70;
    const right = backend.tensor(numbersOf(3, inner * 9), { shape: [inner, 9] });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 300 }), fc.nat(), async (rows, seed) => {
        const x = backend.tensor(numbersOf(seed, rows * inner), { shape: [rows, inner] });
        const place = seed % rows;
        const row = slice(x, { starts: [place, 0], sizes: [1, inner] });
        const alone = await valuesOf(matmul(row, right));
        const together = await valuesOf(matmul(x, right));
        expect(together.slice(place * 9, place * 9 + 9)).toEqual(alone);
        const batched = await valuesOf(
          matmul(concat(row, row, { axis: 0 }).reshape([2, 1, inner]), right),
        );
        expect(batched).toEqual([...alone, ...alone]);
      }),
      { numRuns: 30 },
    );
  });

  it("keeps NaN in its own row", async () => {
    const x = Array.from({ length: 6 * 3 }, (_, index) => (index === 4 ? NaN : 1));
    const right = backend.tensor([1, 2, 3, 4, 5, 6], { shape: [3, 2] });
    const out = await valuesOf(matmul(backend.tensor(x, { shape: [6, 3] }), right));
    expect(out.map(Number.isNaN)).toEqual(out.map((_, index) => index === 2 || index === 3));
  });
});
