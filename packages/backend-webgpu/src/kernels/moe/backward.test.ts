import { type Tensor, mul, sum, valueAndGrad } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { requireWebGpu } from "../../testing/adapter.ts";
import { createPair, randomTensor } from "../../testing/oracle.ts";
import { type Layer, descriptors, inputsOf, runOn, small, swiglu } from "./testing/layer.ts";

const gpu = await requireWebGpu();
/** Many kernels are compiled, and without hardware each takes long. */
const PATIENCE = 240_000;

/** Gradients of everything, by the fused kernels. */
function gradients(backend: Parameters<typeof inputsOf>[0], layer: Layer): Tensor[] {
  const [x, indices, ...rest] = inputsOf(backend, layer) as [Tensor, Tensor, ...Tensor[]];
  const given = [x, ...rest];
  const { grads } = valueAndGrad((inputs: (Tensor | undefined)[]) => {
    const [first, ...others] = inputs;
    const y = runOn([first, indices, ...others], layer);
    return sum(mul(y, randomTensor(backend, 11, y.shape)));
  })(given);
  return (grads as (Tensor | null)[]).filter((tensor) => tensor !== null && tensor !== undefined);
}

const layers: readonly (readonly [string, Layer])[] = [
  ["swiglu", { ...small, tokens: 33, descriptor: swiglu }],
  ["one token", { ...small, tokens: 1, descriptor: swiglu }],
  ["odd sizes", { ...small, tokens: 9, hidden: 5, inner: 3, output: 7, biases: true }],
  ["all to one of many", { ...small, tokens: 20, experts: 9, indices: new Array(40).fill(2) }],
  ["nobody has an expert", { ...small, tokens: 3, indices: new Array(6).fill(4), biases: true }],
  ...descriptors.map(([name, descriptor]): [string, Layer] => [
    `${name}, with biases and input weights`,
    { ...small, tokens: 12, descriptor, biases: true, inputWeights: true },
  ]),
];

describe.skipIf(!gpu.available)("moeFfnBackward", () => {
  it.each(layers)(
    "has the gradients of %s",
    async (_, layer) => {
      const pair = await createPair({ tiling: "registers" });
      expect(await pair.agree((backend) => gradients(backend, layer), 2e-4)).toBeUndefined();
      expect(pair.gpu.record()["moeFfnBackward"]).toEqual({ kernel: 1, decomposed: 0 });
      await pair.dispose();
    },
    PATIENCE,
  );

  it(
    "has the same bits through workgroup memory, and at each run",
    async () => {
      const layer: Layer = { ...small, tokens: 70, hidden: 36, inner: 20, biases: true };
      const read = async (backend: Parameters<typeof inputsOf>[0]): Promise<unknown[]> =>
        Promise.all(gradients(backend, layer).map((tensor) => tensor.read()));
      const here = await createPair({ tiling: "registers" });
      const there = await createPair({ tiling: "workgroup" });
      const wanted = await read(here.gpu);
      expect(await read(here.gpu)).toEqual(wanted);
      expect(await read(there.gpu)).toEqual(wanted);
      await Promise.all([here.dispose(), there.dispose()]);
    },
    PATIENCE,
  );
});
