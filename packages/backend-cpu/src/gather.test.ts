import {
  type Backend,
  type DType,
  type Shape,
  donate,
  gatherRows,
  putAlong,
  segmentSum,
  takeAlong,
} from "@moiety/core";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { create } from "./index.ts";
import { at, count, indicesOf, numbersOf, valuesOf } from "./testing/naive.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await create();
});

const i32 = (values: number[], shape?: Shape) =>
  backend.tensor(values, { dtype: "i32", shape: shape ?? [values.length] });

describe("gatherRows", () => {
  it.each<DType>(["f32", "f64", "i32", "u32", "bool", "u8"])("picks rows of %s", async (dtype) => {
    const table = backend.tensor([1, 0, 1, 1, 0, 0], { shape: [3, 2], dtype });
    const out = gatherRows(table, i32([2, 0, 3, -1, 1, 1], [3, 2]));
    expect(out.shape).toEqual([3, 2, 2]);
    expect(out.dtype).toBe(dtype);
    expect(await valuesOf(out)).toEqual([0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
  });

  it("picks long rows and rows of one number, of none, and none at all", async () => {
    const wide = numbersOf(1, 300).map(Math.fround);
    const long = gatherRows(backend.tensor(wide, { shape: [3, 100] }), i32([2, 5, 0]));
    expect(await valuesOf(long)).toEqual([
      ...wide.slice(200),
      ...new Array(100).fill(0),
      ...wide.slice(0, 100),
    ]);
    expect(await valuesOf(gatherRows(backend.tensor([4, 5]), i32([1, 1, 2])))).toEqual([5, 5, 0]);
    const narrow = backend.tensor([], { shape: [2, 0], dtype: "f32" });
    expect(gatherRows(narrow, i32([0])).shape).toEqual([1, 0]);
    const empty = backend.tensor([], { shape: [0, 2], dtype: "f32" });
    expect(await valuesOf(gatherRows(empty, i32([0])))).toEqual([0, 0]);
    expect(await valuesOf(gatherRows(backend.tensor([1]), i32([])))).toEqual([]);
  });

  it("zeroes rows in recycled memory", async () => {
    backend.tensor(new Float32Array(4096).fill(7)).dispose();
    const table = backend.tensor(new Float32Array(64).fill(1), { shape: [1, 64] });
    const out = await valuesOf(gatherRows(table, i32(new Array<number>(64).fill(9))));
    expect(out.every((value) => value === 0)).toBe(true);
  });
});

/** A tensor, the axis, and the shape of the indices into it. */
const ALONG: [Shape, number, Shape][] = [
  [[4], 0, [6]],
  [[3, 4], 1, [3, 2]],
  [[3, 4], 0, [5, 4]],
  [[2, 5, 3], 1, [2, 2, 3]],
  [[2, 5, 3], 0, [3, 5, 3]],
  [[2, 5, 3], 2, [2, 5, 4]],
  [[2, 0], 1, [2, 3]],
  [[2, 3], 1, [2, 0]],
];

describe("takeAlong", () => {
  it.each(ALONG)("%j along %j by %j", async (shape, axis, indexShape) => {
    const size = shape[axis] ?? 0;
    const x = numbersOf(1, count(shape));
    const ids = numbersOf(2, count(indexShape)).map(
      (value) => Math.floor((value + 1) * (size / 2 + 1)) - 1,
    );
    const expected = indicesOf(indexShape).map((index, place) => {
      const id = ids[place] ?? -1;
      return id >= 0 && id < size ? at(x, shape, index.with(axis, id)) : 0;
    });
    const out = takeAlong(backend.tensor(x, { shape, dtype: "f64" }), i32(ids, indexShape), {
      axis,
    });
    expect(await valuesOf(out)).toEqual(expected);
  });
});

describe("putAlong", () => {
  it.each([false, true])(
    "puts by unique index and leaves the rest (donated: %j)",
    async (donated) => {
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom<Shape>([5], [3, 4], [2, 3, 4]),
          fc.nat(),
          fc.integer({ min: 0, max: 5 }),
          async (shape, seed, steps) => {
            const axis = seed % shape.length;
            const size = shape[axis] ?? 0;
            const indexShape = shape.with(axis, steps);
            const x = numbersOf(seed, count(shape)).map(Math.fround);
            const updates = numbersOf(seed + 1, count(indexShape)).map(Math.fround);
            // Along the axis each index is another one; those from `size` on lie outside.
            const ids = indicesOf(indexShape).map((index) => {
              const line = index.with(axis, 0).reduce((sum, place) => sum * 7 + place, seed % 11);
              return (((index[axis] ?? 0) + line) % 6) - (line % 2);
            });
            const expected = [...x];
            for (const [place, index] of indicesOf(indexShape).entries()) {
              const id = ids[place] ?? -1;
              if (id < 0 || id >= size) continue;
              const target = index
                .with(axis, id)
                .reduce((sum, at, other) => sum * (shape[other] ?? 1) + at, 0);
              expected[target] = updates[place] ?? NaN;
            }
            const tensor = backend.tensor(x, { shape });
            const before = backend.statistics().liveBuffers;
            const index = i32(ids, indexShape);
            const update = backend.tensor(updates, { shape: indexShape });
            const out = putAlong(donated ? donate(tensor) : tensor, index, update, { axis });
            expect(backend.statistics().liveBuffers).toBe(before + (donated ? 2 : 3));
            expect(await valuesOf(out)).toEqual(expected);
            if (!donated) expect(await valuesOf(tensor)).toEqual(x);
          },
        ),
        { numRuns: 60 },
      );
    },
  );
});

describe("segmentSum", () => {
  it("adds rows by ascending id, skipping those outside", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: -2, max: 7 }), { maxLength: 20 }),
        fc.integer({ min: 0, max: 6 }),
        fc.constantFrom<Shape>([], [1], [3], [2, 2]),
        async (unsorted, segments, row) => {
          const ids = unsorted.sort((a, b) => a - b);
          const width = count(row);
          const rows = numbersOf(1, ids.length * width).map(Math.fround);
          const expected = new Array<number>(segments * width).fill(0);
          for (const [index, id] of ids.entries()) {
            if (id < 0 || id >= segments) continue;
            for (let place = 0; place < width; place++) {
              expected[id * width + place] =
                (expected[id * width + place] ?? NaN) + (rows[index * width + place] ?? NaN);
            }
          }
          for (const dtype of ["f64", "f32"] as const) {
            const tensor = backend.tensor(rows, { shape: [ids.length, ...row], dtype });
            const out = segmentSum(tensor, i32(ids), { segments });
            expect(out.shape).toEqual([segments, ...row]);
            expect(await valuesOf(out)).toEqual(
              dtype === "f64" ? expected : expected.map(Math.fround),
            );
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it("zeroes empty segments in recycled memory", async () => {
    backend.tensor(new Float32Array(4096).fill(7)).dispose();
    const one = backend.tensor(new Float32Array(64).fill(1), { shape: [1, 64] });
    const out = await valuesOf(segmentSum(one, i32([2]), { segments: 64 }));
    expect(out).toEqual(out.map((_, index) => Number(index >= 128 && index < 192)));
  });
});
