import { type Backend, type Tensor, mul, rmsNorm, sum, valueAndGrad } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requireWebGpu } from "../../testing/adapter.ts";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();

function normAndGradients(backend: Backend, shape: readonly number[]): Tensor[] {
  const width = shape.at(-1) ?? 0;
  const [x, weight] = [randomTensor(backend, 1, shape), randomTensor(backend, 2, [width])];
  const direction = randomTensor(backend, 3, shape);
  const { grads } = valueAndGrad((given: readonly [Tensor, Tensor]) =>
    sum(mul(rmsNorm(...given, { epsilon: 1e-5 }), direction)),
  )([x, weight]);
  return [rmsNorm(x, weight, { epsilon: 1e-5 }), ...(grads as readonly Tensor[])];
}

describe.skipIf(!gpu.available).each(["registers", "workgroup"] as const)(
  "rmsNorm through %s",
  (tiling) => {
    let pair: Pair;
    beforeAll(async () => {
      pair = await createPair({ tiling });
    });
    afterAll(() => pair.dispose());

    it.each([
      [[1, 2]],
      [[3, 33]],
      [[2, 5, 96]],
      [[64, 4]],
      [[65, 4]],
      [[4200, 3]],
      [[2, 2100]],
      [[0, 3]],
    ])("agrees with its gradients on %o", async (shape) => {
      await pair.agree((backend) => normAndGradients(backend, shape), 2e-5);
    });
  },
);

describe.skipIf(!gpu.available)("rmsNorm", () => {
  it("keeps NaN to its row", async () => {
    const pair = await createPair();
    await pair.agree((backend) => {
      const x = backend.tensor([1, 2, Number.NaN, 4], { shape: [2, 2], dtype: "f32" });
      return rmsNorm(x, backend.tensor([1, 2], { dtype: "f32" }), { epsilon: 1e-6 });
    });
    await pair.dispose();
  });

  it("works in many segments, and gives a row the same bits in any batch", async () => {
    const pair = await createPair({ segmentBytes: 256 });
    await pair.agree((backend) => normAndGradients(backend, [70, 10]), 2e-5);
    const weight = randomTensor(pair.gpu, 2, [40]);
    const all = await rmsNorm(randomTensor(pair.gpu, 1, [9, 40]), weight, { epsilon: 1e-5 }).read();
    const one = await rmsNorm(randomTensor(pair.gpu, 1, [1, 40]), weight, { epsilon: 1e-5 }).read();
    expect(all.slice(0, 40)).toEqual(one);
    await pair.dispose();
  });
});
