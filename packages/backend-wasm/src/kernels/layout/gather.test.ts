import {
  type Backend,
  type Shape,
  type Tensor,
  argsort,
  donate,
  gatherRows,
  hostBits,
  putAlong,
  randomKey,
  segmentSum,
  sizeOf,
  takeAlong,
} from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DTYPES, bitsTensor } from "../../testing/bits.ts";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

/** Ids in and around 0 … count − 1, and some far outside. */
function idsTensor(backend: Backend, seed: number, shape: Shape, count: number): Tensor {
  const bits = hostBits(randomKey(seed), sizeOf(shape));
  const far = [-(2 ** 31), 2 ** 31 - 1, -1];
  const ids = Int32Array.from(bits, (word, index) =>
    index % 11 === 5 ? (far[index % 3] ?? 0) : (word % (count + 2)) - 1,
  );
  return backend.tensor(ids, { shape });
}

/** Along an axis, each place at most once, in any order; some stay outside. */
function placesTensor(backend: Backend, shape: Shape, axis: number, places: number): Tensor {
  const inner = sizeOf(shape.slice(axis + 1));
  const steps = shape[axis] ?? 1;
  const ids = Int32Array.from({ length: sizeOf(shape) }, (_, at) => {
    const step = Math.floor(at / inner) % steps;
    const line = at % inner;
    const place = (step * 5 + line * 3) % 97;
    return place < places && steps <= 97 ? place : -1 - step;
  });
  return backend.tensor(ids, { shape });
}

describe("gathering kernels", () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ threads: 3 });
  });
  afterAll(() => pair.dispose());

  const TABLES: readonly (readonly [Shape, Shape])[] = [
    [[5], [7]],
    [
      [5, 1],
      [3, 2],
    ],
    [[5, 3], [40]],
    [[9, 17], [0]],
    [[0, 4], [3]],
    [[4, 0], [3]],
    [[6, 2, 3], []],
    [[50, 700], [300]],
    [[1000], [40_000]],
  ];
  it.each(TABLES)("gathers rows of %j by ids %j", async (table, ids) => {
    for (const dtype of DTYPES) {
      await pair.agree(
        (backend) =>
          gatherRows(
            bitsTensor(backend, 1, table, dtype),
            idsTensor(backend, 2, ids, table[0] ?? 0),
          ),
        0,
      );
    }
  });

  const ALONG: readonly (readonly [Shape, Shape, number])[] = [
    [[5], [9], 0],
    [[5], [0], 0],
    [[0], [3], 0],
    [[4, 6], [4, 3], 1],
    [[4, 6], [7, 6], 0],
    [[2, 5, 3], [2, 4, 3], 1],
    [[2, 1, 3], [2, 8, 3], 1],
    [[700, 64], [700, 37], 1],
    [[3, 50, 301], [3, 40, 301], 1],
  ];
  it.each(ALONG)("takes of %j at %j along axis %i, and puts", async (shape, indices, axis) => {
    for (const dtype of DTYPES) {
      await pair.agree((backend) => {
        const x = bitsTensor(backend, 1, shape, dtype);
        const places = placesTensor(backend, indices, axis, shape[axis] ?? 0);
        const updates = bitsTensor(backend, 3, indices, dtype);
        const donated = donate(bitsTensor(backend, 4, shape, dtype));
        return [
          takeAlong(x, idsTensor(backend, 2, indices, shape[axis] ?? 0), { axis }),
          putAlong(x, places, updates, { axis }),
          putAlong(donated, places, updates, { axis }),
          x,
        ];
      }, 0);
    }
  });

  it("puts back what it took", async () => {
    await pair.agree((backend) => {
      const x = randomTensor(backend, 1, [31, 67]);
      const order = argsort(x);
      return putAlong(x, order, takeAlong(x, order, { axis: 1 }), { axis: 1 });
    }, 0);
  });

  const SEGMENTS: readonly (readonly [Shape, number])[] = [
    [[0, 3], 4],
    [[5, 0], 4],
    [[9], 4],
    [[9, 3], 0],
    [[40, 5], 7],
    [[300, 65], 1],
    [[2000, 33], 16],
    [[100, 2, 9], 300],
    [[9000], 2],
  ];
  it.each(SEGMENTS)("adds rows %j up in %i segments", async (shape, segments) => {
    const program = (backend: Backend): Tensor => {
      const bits = hostBits(randomKey(3), shape[0] ?? 0);
      const ids = Int32Array.from(bits, (word) => (word % (segments + 3)) - 1).sort();
      return segmentSum(randomTensor(backend, 1, shape), backend.tensor(ids), { segments });
    };
    await pair.agree(program, 2e-5);
  });

  it("adds a segment's rows in their order, whatever else there is", async () => {
    const rows = Float32Array.from(
      { length: 700 },
      (_, index) => Math.sin(index) * 10 ** (index % 7),
    );
    const alone = segmentSum(
      pair.wasm.tensor(rows, { shape: [70, 10] }),
      pair.wasm.tensor(new Int32Array(70)),
      { segments: 1 },
    );
    const sum = new Float32Array(10);
    for (let row = 0; row < 70; row++) {
      for (let column = 0; column < 10; column++) sum[column]! += rows[row * 10 + column]!;
    }
    expect([...(await alone.read())]).toEqual([...sum]);
    const both = Float32Array.from([...rows, ...rows]);
    const ids = Int32Array.from({ length: 140 }, (_, row) => (row < 70 ? 3 : 900));
    const apart = segmentSum(pair.wasm.tensor(both, { shape: [140, 10] }), pair.wasm.tensor(ids), {
      segments: 1000,
    });
    const values = [...(await apart.read())];
    expect(values.slice(30, 40)).toEqual([...sum]);
    expect(values.slice(9000, 9010)).toEqual([...sum]);
  });
});
