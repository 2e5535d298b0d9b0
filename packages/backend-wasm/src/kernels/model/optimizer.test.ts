import { type AdamWAttributes, type Backend, type Tensor, adamW, donate } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

const RATES: AdamWAttributes = {
  learningRate: 3e-3,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
  step: 1,
};

function start(backend: Backend, shape: readonly number[]): [Tensor, Tensor, Tensor] {
  const positive = Float32Array.from(
    { length: shape.reduce((a, b) => a * b, 1) },
    (_, at) => at % 7,
  );
  return [
    randomTensor(backend, 1, shape),
    randomTensor(backend, 3, shape),
    backend.tensor(positive, { shape }),
  ];
}

describe.each([{ threads: 1 }, { threads: 2, exact: true }])("adamW with %o", (options) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair(options);
  });
  afterAll(() => pair.dispose());

  it.each([[[]], [[1]], [[3, 5]], [[1027]], [[40_003]], [[0]]])("agrees on %o", async (shape) => {
    await pair.agree((backend) => {
      const [p, m, v] = start(backend, shape);
      return adamW(p, randomTensor(backend, 2, shape), m, v, RATES);
    }, 1e-6);
  });

  it("writes donated tensors in place over many steps", async () => {
    await pair.agree((backend) => {
      let [p, m, v] = start(backend, [300]);
      for (let step = 1; step <= 5; step++) {
        const gradient = randomTensor(backend, 10 + step, [300]);
        [p, m, v] = adamW(donate(p), gradient, donate(m), donate(v), { ...RATES, step });
      }
      return [p, m, v];
    }, 1e-6);
    const [p, m, v] = start(pair.wasm, [300]);
    const gradient = randomTensor(pair.wasm, 2, [300]);
    const before = pair.wasm.statistics().liveBytes;
    const after = adamW(donate(p), gradient, donate(m), donate(v), RATES);
    expect(pair.wasm.statistics().liveBytes).toBe(before);
    for (const tensor of [gradient, ...after]) tensor.dispose();
  });

  it("keeps apart what one donated tensor becomes", async () => {
    await pair.agree((backend) => {
      const all = donate(start(backend, [50])[2]);
      return adamW(all, randomTensor(backend, 2, [50]), all, all, RATES);
    }, 1e-6);
  });
});
