import { type Backend, type Tensor, mul, sum, valueAndGrad } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";
import { type Layer, descriptors, inputsOf, runOn, small, swiglu } from "./testing/layer.ts";

/** Gradients of everything, by the fused kernels. */
function gradients(backend: Backend, layer: Layer): Tensor[] {
  const [x, indices, ...rest] = inputsOf(backend, layer) as [Tensor, Tensor, ...Tensor[]];
  const { grads } = valueAndGrad((inputs: (Tensor | undefined)[]) => {
    const [first, ...others] = inputs;
    const y = runOn([first, indices, ...others], layer);
    return sum(mul(y, randomTensor(backend, 11, y.shape)));
  })([x, ...rest]);
  return (grads as (Tensor | null | undefined)[]).filter((tensor) => tensor instanceof Object);
}

const layers: readonly (readonly [string, Layer])[] = [
  ["swiglu", { ...small, tokens: 33, descriptor: swiglu }],
  ["one token", { ...small, tokens: 1, descriptor: swiglu }],
  ["odd sizes", { ...small, tokens: 9, hidden: 5, inner: 3, output: 7, biases: true }],
  ["larger sizes", { ...small, tokens: 150, hidden: 130, inner: 70, output: 50, biases: true }],
  ["all to one of many", { ...small, tokens: 20, experts: 9, indices: new Array(40).fill(2) }],
  ["nobody has an expert", { ...small, tokens: 3, indices: new Array(6).fill(4), biases: true }],
  ...descriptors.map(([name, descriptor]): [string, Layer] => [
    `${name}, with biases and input weights`,
    { ...small, tokens: 12, descriptor, biases: true, inputWeights: true },
  ]),
];

describe("moeFfnBackward", () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ threads: 2 });
  });
  afterAll(() => pair.dispose());

  it.each(layers)("has the gradients of %s", async (_, layer) => {
    await pair.agree((backend) => gradients(backend, layer), 2e-4);
    expect(pair.wasm.record()["moeFfnBackward"]?.decomposed).toBe(0);
  });

  it("has the same bits at each run and on one thread", async () => {
    const layer: Layer = { ...small, tokens: 170, hidden: 36, inner: 20, biases: true };
    const alone = await createPair({ threads: 1 });
    const read = async (backend: Backend): Promise<unknown[]> =>
      Promise.all(gradients(backend, layer).map((tensor) => tensor.read()));
    const wanted = await read(pair.wasm);
    expect(await read(pair.wasm)).toEqual(wanted);
    expect(await read(alone.wasm)).toEqual(wanted);
    await alone.dispose();
  });
});
