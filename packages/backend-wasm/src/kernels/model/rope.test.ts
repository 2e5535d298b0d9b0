import { type Backend, type Tensor, donate, mul, rope, sum, valueAndGrad } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

const SHAPES: readonly (readonly [x: number[], table: number[]])[] = [
  [
    [5, 2, 8],
    [5, 4],
  ],
  [
    [2, 5, 3, 9],
    [5, 4],
  ],
  [
    [2, 5, 3, 10],
    [2, 5, 3],
  ],
  [
    [3, 2, 4, 1, 6],
    [2, 4, 3],
  ],
  [
    [3, 2, 4, 1, 6],
    [3, 1, 4, 2],
  ],
  [
    [7, 100, 3, 28],
    [100, 13],
  ],
  [
    [4, 2, 3],
    [4, 0],
  ],
  [
    [0, 2, 4],
    [0, 2],
  ],
];

describe.each([{ threads: 1 }, { threads: 2, exact: true }])("rope with %o", (options) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair(options);
  });
  afterAll(() => pair.dispose());

  const tables = (backend: Backend, shape: readonly number[]): [Tensor, Tensor] => [
    randomTensor(backend, 2, shape),
    randomTensor(backend, 3, shape),
  ];

  it.each(SHAPES)("turns %o by tables %o", async (shape, table) => {
    for (const interleaved of [false, true]) {
      for (const inverse of [false, true]) {
        await pair.agree(
          (backend) =>
            rope(randomTensor(backend, 1, shape), ...tables(backend, table), {
              interleaved,
              inverse,
            }),
          3e-7,
        );
      }
    }
  });

  it("turns gradients back", async () => {
    await pair.agree((backend) => {
      const direction = randomTensor(backend, 4, [5, 2, 9]);
      const turned = (x: Tensor): Tensor =>
        sum(mul(rope(x, ...tables(backend, [5, 4])), direction));
      return valueAndGrad(turned)(randomTensor(backend, 1, [5, 2, 9])).grads as Tensor;
    }, 3e-7);
  });

  it("turns donated tensors in place", async () => {
    const backend = pair.wasm;
    const given = tables(backend, [9, 5]);
    for (const interleaved of [false, true]) {
      const wanted = rope(randomTensor(backend, 1, [9, 3, 13]), ...given, { interleaved });
      const x = randomTensor(backend, 1, [9, 3, 13]);
      const before = backend.statistics().liveBytes;
      const found = rope(donate(x), ...given, { interleaved });
      expect(backend.statistics().liveBytes).toBe(before);
      expect(await found.read()).toEqual(await wanted.read());
    }
  });
});
