import {
  type Backend,
  type Tensor,
  crossEntropy,
  crossEntropyBackward,
  donate,
  mul,
  sum,
  valueAndGrad,
} from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

/** Losses, and the gradient of a weighted sum of them. */
function both(backend: Backend, rows: number, classes: number, targets: number[]): Tensor[] {
  const ids = backend.tensor(
    Int32Array.from({ length: rows }, (_, row) => targets[row % targets.length] ?? 0),
  );
  const logits = randomTensor(backend, 1, [rows, classes]);
  const weights = randomTensor(backend, 2, [rows]);
  const { grads } = valueAndGrad((x: Tensor) => sum(mul(crossEntropy(x, ids), weights)))(logits);
  return [crossEntropy(logits, ids), grads as Tensor];
}

describe.each([{ threads: 1 }, { threads: 2, exact: true }])("crossEntropy with %o", (options) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair(options);
  });
  afterAll(() => pair.dispose());

  it.each([
    [1, 1, [0]],
    [6, 5, [4, 0, -100, 2, 5]],
    [70, 50, [3, 49, -1]],
    [2, 3000, [2999, 7]],
    [300, 97, [-(2 ** 31), 2 ** 31 - 1, 96]],
    [0, 4, [0]],
  ])("agrees on %i rows of %i classes", async (rows, classes, targets) => {
    await pair.agree((backend) => both(backend, rows, classes, targets), 2e-6);
  });

  it("has the whole width of a large vocabulary", async () => {
    await pair.agree((backend) => {
      const logits = randomTensor(backend, 5, [1, 100_003]);
      return crossEntropy(logits, backend.tensor(Int32Array.of(100_002)));
    }, 1e-6);
  });

  it("keeps NaN to its row and out of ignored ones", async () => {
    await pair.agree((backend) => {
      const logits = backend.tensor([1, 2, Number.NaN, 4, Number.NaN, 6], {
        shape: [3, 2],
        dtype: "f32",
      });
      return crossEntropy(logits, backend.tensor(Int32Array.of(1, 1, -1)));
    });
  });

  it("writes the gradient into donated logits", async () => {
    const backend = pair.wasm;
    const ids = backend.tensor(Int32Array.of(3, -1, 5, 0));
    const [kept, gradient] = [randomTensor(backend, 2, [4]), randomTensor(backend, 3, [4])];
    const wanted = crossEntropyBackward(randomTensor(backend, 1, [4, 7]), ids, kept, gradient);
    const logits = randomTensor(backend, 1, [4, 7]);
    const before = backend.statistics().liveBytes;
    const found = crossEntropyBackward(donate(logits), ids, kept, gradient);
    expect(backend.statistics().liveBytes).toBe(before);
    expect(await found.read()).toEqual(await wanted.read());
  });
});
