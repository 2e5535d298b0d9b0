import { type Backend, type Tensor, mul, rmsNorm, sum, valueAndGrad } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

function normAndGradients(backend: Backend, shape: readonly number[]): Tensor[] {
  const width = shape.at(-1) ?? 0;
  const [x, weight] = [randomTensor(backend, 1, shape), randomTensor(backend, 2, [width])];
  const direction = randomTensor(backend, 3, shape);
  const { grads } = valueAndGrad((given: readonly [Tensor, Tensor]) =>
    sum(mul(rmsNorm(...given, { epsilon: 1e-5 }), direction)),
  )([x, weight]);
  return [rmsNorm(x, weight, { epsilon: 1e-5 }), ...(grads as readonly Tensor[])];
}

describe.each([{ threads: 1 }, { threads: 3, exact: true }])("rmsNorm with %o", (options) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair(options);
  });
  afterAll(() => pair.dispose());

  it.each([
    [[2]],
    [[3, 33]],
    [[2, 5, 96]],
    [[65, 4]],
    [[4200, 3]],
    [[2, 2100]],
    [[300, 130]],
    [[0, 3]],
    [[3, 0]],
  ])("agrees with its gradients on %o", async (shape) => {
    await pair.agree((backend) => normAndGradients(backend, shape), 5e-6);
  });

  it.each([[[1]], [[50, 1]]])("has a row of one number on %o", async (shape) => {
    // The gradient of x is 0 but for rounding.
    await pair.agree((backend) => {
      const [y, , weight] = normAndGradients(backend, shape);
      return [y, weight] as Tensor[];
    }, 5e-6);
  });

  it("keeps NaN to its row", async () => {
    await pair.agree((backend) => {
      const x = backend.tensor([1, 2, Number.NaN, 4], { shape: [2, 2], dtype: "f32" });
      return rmsNorm(x, backend.tensor([1, 2], { dtype: "f32" }), { epsilon: 1e-6 });
    });
  });

  it("gives a row the same bits in any batch", async () => {
    const weight = randomTensor(pair.wasm, 2, [41]);
    const all = await rmsNorm(randomTensor(pair.wasm, 1, [900, 41]), weight, {
      epsilon: 1e-5,
    }).read();
    const one = await rmsNorm(randomTensor(pair.wasm, 1, [1, 41]), weight, {
      epsilon: 1e-5,
    }).read();
    expect(all.slice(0, 41)).toEqual(one);
  });
});

it("gives the same bits with any number of threads", async () => {
  const found: unknown[] = [];
  for (const threads of [1, 2, 3]) {
    const pair = await createPair({ threads });
    const outputs = normAndGradients(pair.wasm, [3000, 40]);
    found.push(await Promise.all(outputs.map((tensor) => tensor.read())));
    await pair.dispose();
  }
  expect(found[1]).toEqual(found[0]);
  expect(found[2]).toEqual(found[0]);
});
