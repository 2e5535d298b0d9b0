import { type Backend, type Shape, type Tensor, donate, logSumExp, softmax } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

/** A bool tensor. */
function maskOf(backend: Backend, shape: Shape, hidden: (at: number) => boolean): Tensor {
  const size = shape.reduce((product, each) => product * each, 1);
  const values = Uint32Array.from({ length: size }, (_, at) => (hidden(at) ? 0 : 1));
  return backend.tensor(values, { shape, dtype: "bool" });
}

describe("softmax and logSumExp", () => {
  let pair: Pair;
  let exact: Pair;
  beforeAll(async () => {
    [pair, exact] = await Promise.all([
      createPair({ threads: 3 }),
      createPair({ threads: 1, exact: true }),
    ]);
  });
  afterAll(() => Promise.all([pair.dispose(), exact.dispose()]));

  it.each([
    [1, 1],
    [5, 7],
    [3, 33],
    [2, 3, 64],
    [2, 300],
    [1, 50_000],
    [1300, 4],
    [0, 4],
    [4, 0],
  ])("agree on [%o, …]", async (...shape) => {
    for (const each of [pair, exact]) {
      await each.agree((backend) => softmax(randomTensor(backend, 1, shape)), 3e-7);
      if (shape.at(-1) === 0) continue;
      await each.agree((backend) => logSumExp(randomTensor(backend, 2, shape)), 1e-6);
    }
  });

  it.each([
    { shape: [2, 3, 40], maskShape: [2, 3, 40] },
    { shape: [2, 3, 41], maskShape: [41] },
    { shape: [2, 3, 40], maskShape: [2, 1, 40] },
    { shape: [2, 3, 40], maskShape: [3, 1] },
    { shape: [2, 2, 3, 5], maskShape: [2, 1, 3, 5] },
    { shape: [4, 9], maskShape: [1] },
    { shape: [4, 1], maskShape: [4, 1] },
    { shape: [4, 9], maskShape: [] },
  ])("take a mask that broadcasts: $shape, $maskShape", async ({ shape, maskShape }) => {
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
      const mask = maskOf(backend, [3, 3], (at) => at === 6 || at === 0);
      return [softmax(x), softmax(x, mask), logSumExp(x)];
    }, 3e-7);
  });

  it("give zeros where nothing counts, whatever is hidden", async () => {
    await pair.agree((backend) => {
      const x = backend.tensor([Number.NaN, 1e4, -1e4, Infinity, -Infinity, 1, 2, 3, 4, 5], {
        shape: [2, 5],
        dtype: "f32",
      });
      return softmax(
        x,
        maskOf(backend, [2, 5], (at) => at < 5),
      );
    }, 3e-7);
  });

  it("have the same bits in place, alone and among others", async () => {
    const { wasm } = pair;
    const x = randomTensor(wasm, 6, [400, 37]);
    const [kept, alone] = await Promise.all([
      softmax(x).read(),
      softmax(randomTensor(wasm, 6, [1, 37])).read(),
    ]);
    expect(kept.subarray(0, 37)).toEqual(alone);
    expect(await softmax(donate(x)).read()).toEqual(kept);
  });
});
