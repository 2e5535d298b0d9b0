import { type Backend, type Tensor, crossEntropy, mul, sum, valueAndGrad } from "@moiety/core";
import { afterAll, beforeAll, describe, it } from "vitest";
import { requireWebGpu } from "../../testing/adapter.ts";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();

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

describe.skipIf(!gpu.available).each(["registers", "workgroup"] as const)(
  "crossEntropy through %s",
  (tiling) => {
    let pair: Pair;
    beforeAll(async () => {
      pair = await createPair({ tiling });
    });
    afterAll(() => pair.dispose());

    it.each([
      [1, 1, [0]],
      [6, 5, [4, 0, -100, 2, 5]],
      [70, 50, [3, 49, -1]],
      [2, 3000, [2999, 7]],
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
  },
);

describe.skipIf(!gpu.available)("crossEntropy", () => {
  it("works in many segments", async () => {
    const pair = await createPair({ segmentBytes: 256 });
    await pair.agree((backend) => both(backend, 70, 10, [3, 9, -1]), 2e-6);
    await pair.dispose();
  });
});
