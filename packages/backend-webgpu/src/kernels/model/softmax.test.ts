import { type Backend, type Tensor, logSumExp, softmax } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requireWebGpu } from "../../testing/adapter.ts";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();

/** A bool tensor that is true at about two places of three. */
function maskOf(
  backend: Backend,
  shape: readonly number[],
  hidden: (at: number) => boolean,
): Tensor {
  const size = shape.reduce((product, each) => product * each, 1);
  const values = Uint32Array.from({ length: size }, (_, at) => (hidden(at) ? 0 : 1));
  return backend.tensor(values, { shape, dtype: "bool" });
}

describe.skipIf(!gpu.available).each(["registers", "workgroup"] as const)(
  "softmax and logSumExp through %s",
  (tiling) => {
    let pair: Pair;
    beforeAll(async () => {
      pair = await createPair({ tiling });
    });
    afterAll(() => pair.dispose());

    it.each([
      [1, 1],
      [5, 7],
      [3, 33],
      [2, 3, 64],
      [2, 300],
      [1, 5000],
      [130, 4],
      [0, 4],
      [4, 0],
    ])("agree on [%o, …]", async (...shape) => {
      await pair.agree((backend) => softmax(randomTensor(backend, 1, shape)), 3e-7);
      if (shape.at(-1) !== 0) {
        await pair.agree((backend) => logSumExp(randomTensor(backend, 2, shape)), 1e-6);
      }
    });

    it.each([
      [
        [2, 3, 40],
        [2, 3, 40],
      ],
      [[2, 3, 40], [40]],
      [
        [2, 3, 40],
        [2, 1, 40],
      ],
      [
        [2, 3, 40],
        [3, 1],
      ],
      [
        [2, 2, 3, 5],
        [2, 1, 3, 5],
      ],
      [[4, 9], [1]],
    ])("take a mask that broadcasts: %o, %o", async (shape, maskShape) => {
      await pair.agree((backend) => {
        const mask = maskOf(backend, maskShape, (at) => at % 3 === 1 || at < 2);
        return softmax(randomTensor(backend, 3, shape), mask);
      }, 3e-7);
    });

    it("stay finite far from 0 and close to a single one", async () => {
      await pair.agree((backend) => {
        const x = backend.tensor([1e4, -1e4, 9999, 1e4, -3e38, 3e38, 0, 1, 20, -1, 2, 3], {
          shape: [3, 4],
          dtype: "f32",
        });
        return [softmax(x), logSumExp(x)];
      }, 1e-6);
    });

    it("keep NaN to its row, and from rows where it is masked", async () => {
      await pair.agree((backend) => {
        const x = backend.tensor([1, Number.NaN, 2, 1, 2, 3, Number.NaN, 1, 2], {
          shape: [3, 3],
          dtype: "f32",
        });
        const mask = maskOf(backend, [3, 3], (at) => at === 6);
        return [softmax(x), softmax(x, mask), logSumExp(x)];
      }, 3e-7);
    });
  },
);

describe.skipIf(!gpu.available)("softmax", () => {
  it("works in many segments, with the bits of one", async () => {
    const pairs = await Promise.all([createPair({ segmentBytes: 256 }), createPair()]);
    const bits = await Promise.all(
      pairs.map(async (pair) => {
        await pair.agree((backend) => softmax(randomTensor(backend, 1, [70, 10])), 3e-7);
        await pair.agree((backend) => logSumExp(randomTensor(backend, 1, [70, 10])));
        return softmax(randomTensor(pair.gpu, 1, [70, 10])).read();
      }),
    );
    expect(bits[0]).toEqual(bits[1]);
    for (const pair of pairs) await pair.dispose();
  });
});
