import {
  type Backend,
  type Shape,
  type Tensor,
  argsort,
  groupRows,
  hostBits,
  randomKey,
  sizeOf,
  topK,
} from "@moiety/core";
import { afterAll, beforeAll, describe, it } from "vitest";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

/** Floats with many ties, both zeros, infinities, NaN of both signs and subnormals. */
function awkwardFloats(backend: Backend, seed: number, shape: Shape): Tensor {
  const negativeNaN = new Float32Array(Uint32Array.of(0xffc00001).buffer)[0] ?? Number.NaN;
  const values = [
    0,
    -0,
    1,
    -1,
    Number.NaN,
    negativeNaN,
    Infinity,
    -Infinity,
    1e-40,
    -1e-40,
    3e38,
    -3e38,
    2.5,
  ];
  const bits = hostBits(randomKey(seed), sizeOf(shape));
  const picked = Float32Array.from(bits, (word) => values[word % values.length] ?? 0);
  return backend.tensor(picked, { shape });
}

function maskOf(backend: Backend, shape: Shape, share = 3): Tensor {
  const bits = hostBits(randomKey(99), sizeOf(shape));
  return backend.tensor(
    bits.map((word) => Number(word % share !== 0)),
    { shape, dtype: "bool" },
  );
}

const SHAPES: readonly Shape[] = [
  [1],
  [2, 5],
  [3, 64],
  [2, 65],
  [4, 129],
  [3, 300],
  [700, 9],
  [0, 4],
  [3, 0],
];

describe("ordering", () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ threads: 3 });
  });
  afterAll(() => pair.dispose());

  it.each(SHAPES.map((shape) => [shape]))("picks the best of %o", async (shape) => {
    const width = shape.at(-1) ?? 0;
    for (const k of [0, 1, 2, 8, 40, width].filter((each) => each <= width)) {
      await pair.agree((backend) => [
        ...topK(awkwardFloats(backend, 1, shape), undefined, { k }),
        ...topK(awkwardFloats(backend, 2, shape), maskOf(backend, shape), { k }),
        ...topK(awkwardFloats(backend, 2, shape), maskOf(backend, shape, 1), { k }),
        ...topK(randomTensor(backend, 3, shape), undefined, { k }),
      ]);
    }
  });

  it("picks among thousands", async () => {
    await pair.agree((backend) => {
      const scores = randomTensor(backend, 4, [2, 5000]);
      return [3, 100, 256, 700, 5000].flatMap((k) => [...topK(scores, undefined, { k })]);
    });
  });

  it.each(SHAPES.map((shape) => [shape]))("orders %o in both directions", async (shape) => {
    const integers = (backend: Backend, dtype: "i32" | "u32"): Tensor => {
      const ends = [0, 1, 0xffffffff, 0x80000000, 0x7fffffff, 5, 6];
      const bits = hostBits(randomKey(5), sizeOf(shape)).map((word) => ends[word % 7] ?? 0);
      return backend.tensor(dtype === "i32" ? Int32Array.from(bits) : bits, { shape });
    };
    for (const descending of [false, true]) {
      await pair.agree((backend) => {
        const mask = maskOf(backend, shape);
        const all = [
          awkwardFloats(backend, 1, shape),
          integers(backend, "i32"),
          integers(backend, "u32"),
        ];
        return all.flatMap((x) => [
          argsort(x, undefined, { descending }),
          argsort(x, mask, { descending }),
        ]);
      });
    }
  });

  it("orders a row of more than 65535", async () => {
    await pair.agree((backend) => {
      const bits = hostBits(randomKey(6), 70_001);
      return [
        argsort(backend.tensor(bits.map((word) => word % 1000)), undefined, { descending: true }),
        argsort(backend.tensor(Int32Array.from(bits)), maskOf(backend, [70_001])),
      ];
    });
  });

  it.each([
    [0, 3],
    [1, 1],
    [5, 0],
    [40, 7],
    [1500, 200],
    [5000, 40_000],
    [70_000, 9],
    [70_000, 20_000],
  ])("groups %i assignments of %i groups, stably", async (count, groups) => {
    await pair.agree((backend) => {
      const bits = hostBits(randomKey(7), count);
      const ids = Int32Array.from(bits, (word) => (word % (groups + 3)) - 1);
      return groupRows(backend.tensor(ids), { groups });
    });
  });

  it.each([40, 20_000])("groups %i assignments to one group, or to none", async (count) => {
    for (const id of [0, 16, -5, 17, 2 ** 31 - 1, -(2 ** 31)]) {
      await pair.agree((backend) =>
        groupRows(backend.tensor(new Int32Array(count).fill(id)), { groups: 17 }),
      );
    }
  });
});
