import { type Backend, ConfigError, ShapeError, type Tensor } from "@moiety/core";
import createCpu from "@moiety/backend-cpu";
import { beforeEach, describe, expect, it } from "vitest";
import { adamW } from "./adamw.ts";
import type { Optimizer, OptimizerState } from "./optimizer.ts";
import { tensorsOf } from "./owned.ts";
import { sgd } from "./sgd.ts";

interface Tree {
  readonly weight: Tensor;
  readonly blocks: readonly { readonly norm: Tensor }[];
  readonly ids: Tensor;
}

/** One scalar parameter through torch.optim.AdamW's formulas, written out once more. */
function adamWByHand(
  start: number,
  gradients: readonly number[],
  rate: number,
  [beta1, beta2]: readonly [number, number],
  epsilon: number,
  decay: number,
): number {
  let [parameter, first, second] = [start, 0, 0];
  for (const [index, gradient] of gradients.entries()) {
    const step = index + 1;
    parameter *= 1 - rate * decay;
    first += (gradient - first) * (1 - beta1);
    second = second * beta2 + (1 - beta2) * gradient * gradient;
    const denominator = Math.sqrt(second) / Math.sqrt(1 - beta2 ** step) + epsilon;
    parameter -= (rate / (1 - beta1 ** step)) * (first / denominator);
  }
  return parameter;
}

describe("optimizers", () => {
  let backend: Backend;
  beforeEach(async () => {
    backend = await createCpu();
  });

  const tree = (): Tree => ({
    weight: backend.tensor(Float64Array.of(1, -2, 3, 0.5), { shape: [2, 2] }),
    blocks: [{ norm: backend.tensor(Float64Array.of(1, 1)) }],
    ids: backend.tensor(Int32Array.of(7, 8)),
  });

  const run = async (
    optimizer: Optimizer,
    steps: readonly (readonly [weight: readonly number[], norm: readonly number[] | null])[],
  ): Promise<{ weight: number[]; norm: number[]; ids: number[]; state: OptimizerState<Tree> }> => {
    let params = tree();
    let state = optimizer.init(params);
    for (const [index, [weight, norm]] of steps.entries()) {
      const grads = {
        weight: backend.tensor(Float64Array.from(weight), { shape: [2, 2] }),
        blocks: [{ norm: norm && backend.tensor(Float64Array.from(norm)) }],
        ids: null,
      };
      const before = params;
      ({ params, state } = optimizer.update({ params, grads, state, step: index + 1 }));
      expect(before.weight.disposed).toBe(true);
      expect(grads.weight.disposed).toBe(false);
    }
    return {
      weight: Array.from(await params.weight.read()),
      norm: Array.from(await (params.blocks[0] as { norm: Tensor }).norm.read()),
      ids: Array.from(await params.ids.read()),
      state,
    };
  };

  const expectClose = (actual: readonly number[], expected: readonly number[]): void => {
    expect(actual.length).toBe(expected.length);
    for (const [index, value] of expected.entries()) {
      expect(Math.abs((actual[index] ?? Number.NaN) - value)).toBeLessThanOrEqual(
        1e-13 * Math.max(1, Math.abs(value)),
      );
    }
  };

  const weights = [
    [0.3, -0.1, 0, 2],
    [-0.2, 0.4, 1e-9, -1],
    [0.1, 0.1, 0.5, 0.25],
  ] as const;

  it("adamW follows PyTorch's formulas over several steps", async () => {
    const optimizer = adamW({
      learningRate: 0.05,
      betas: [0.8, 0.95],
      epsilon: 1e-6,
      weightDecay: 0.3,
      decay: (path) => path !== "blocks.0.norm",
    });
    const norms = [
      [0.5, -0.5],
      [0.25, 0.125],
      [-1, 3],
    ];
    const result = await run(
      optimizer,
      weights.map((weight, index) => [weight, norms[index] ?? null] as const),
    );
    const byHand = (start: number, gradients: readonly number[], decay: number): number =>
      adamWByHand(start, gradients, 0.05, [0.8, 0.95], 1e-6, decay);
    expectClose(
      result.weight,
      [1, -2, 3, 0.5].map((start, i) =>
        byHand(
          start,
          weights.map((w) => w[i] ?? 0),
          0.3,
        ),
      ),
    );
    expectClose(
      result.norm,
      [0, 1].map((i) =>
        byHand(
          1,
          norms.map((norm) => norm[i] ?? 0),
          0,
        ),
      ),
    );
  });

  it("adamW's first step has a value that can be worked out by head", async () => {
    // With any betas the first step moves by rate · sign(g), ε aside.
    const optimizer = adamW({ learningRate: 0.1, epsilon: 0, weightDecay: 0 });
    const { weight } = await run(optimizer, [[[4, -0.001, 7, -9], null]]);
    expectClose(weight, [0.9, -1.9, 2.9, 0.6]);
  });

  it("sgd with momentum, Nesterov and decay follows PyTorch's formulas", async () => {
    const [rate, momentum, decay] = [0.1, 0.9, 0.01];
    for (const nesterov of [false, true]) {
      const optimizer = sgd({ learningRate: rate, momentum, nesterov, weightDecay: decay });
      const { weight } = await run(
        optimizer,
        weights.map((w) => [w, [0, 0]] as const),
      );
      const expected = [1, -2, 3, 0.5].map((start, i) => {
        let [parameter, buffer] = [start, 0];
        for (const gradients of weights) {
          const gradient = (gradients[i] ?? 0) + decay * parameter;
          buffer = momentum * buffer + gradient;
          parameter -= rate * (nesterov ? gradient + momentum * buffer : buffer);
        }
        return parameter;
      });
      expectClose(weight, expected);
    }
  });

  it("plain sgd keeps no state", async () => {
    const optimizer = sgd({ learningRate: 0.5 });
    const { weight, state } = await run(optimizer, [
      [
        [2, 0, -2, 1],
        [0, 0],
      ],
    ]);
    expectClose(weight, [0, -2, 4, 0]);
    expect(state).toEqual({});
  });

  it.each([
    ["adamW", adamW({ learningRate: 0.1 })],
    ["sgd", sgd({ learningRate: 0.1, momentum: 0.9 })],
  ])("%s leaves a leaf without gradient alone, with its moments", async (_, optimizer) => {
    const { norm: after, ids, state } = await run(optimizer, [[[1, 1, 1, 1], null]]);
    expect(after).toEqual([1, 1]);
    expect(ids).toEqual([7, 8]);
    for (const moments of Object.values(state)) {
      const [norm] = tensorsOf(moments.blocks);
      expect(Array.from((await norm?.read()) ?? [])).toEqual([0, 0]);
      expect(moments.ids).toBeNull();
    }
  });

  it("writes into the buffers that it was given", () => {
    const optimizer = adamW({ learningRate: 0.1 });
    const params = { weight: backend.tensor(new Float32Array(64)) };
    const state = optimizer.init(params);
    const grads = { weight: backend.tensor(new Float32Array(64).fill(1)) };
    const before = backend.statistics();
    optimizer.update({ params, grads, state, step: 1 });
    const after = backend.statistics();
    expect(after.liveBuffers).toBe(before.liveBuffers);
    expect(after.liveTensors).toBe(before.liveTensors);
    expect(after.refusedDonations).toBe(0);
  });

  it("takes the learning rate of the update over its own", async () => {
    const params = { weight: backend.tensor([1]) };
    const optimizer = sgd({ learningRate: 1 });
    const grads = { weight: backend.tensor([1]) };
    const result = optimizer.update({ params, grads, state: {}, learningRate: 0.25, step: 1 });
    expect(await result.params.weight.item()).toBe(0.75);
  });

  it("refuses settings, trees and gradients that make no sense", () => {
    expect(() => adamW({ learningRate: -1 })).toThrow(ConfigError);
    expect(() => adamW({ learningRate: 0.1, betas: [0.9, 1] })).toThrow(/betas\[1\]/);
    expect(() => adamW({ learningRate: 0.1, epsilon: Number.NaN })).toThrow(/epsilon/);
    expect(() => sgd({ learningRate: 0.1, momentum: -0.5 })).toThrow(/momentum/);
    const shared = backend.tensor([1, 2]);
    const optimizer = adamW({ learningRate: 0.1 });
    expect(() => optimizer.init({ embedding: shared, head: shared })).toThrow(/embedding.*head/);
    const params = { weight: backend.tensor([1, 2]) };
    const state = optimizer.init(params);
    const good = { weight: backend.tensor([1, 2]) };
    expect(() => optimizer.update({ params, grads: good, state: {}, step: 1 })).toThrow(
      ConfigError,
    );
    expect(params.weight.disposed).toBe(false);
    const wrong = { weight: backend.tensor([1, 2, 3]) };
    expect(() => optimizer.update({ params, grads: wrong, state, step: 1 })).toThrow(ShapeError);
    const other = { weights: backend.tensor([1, 2]) } as unknown as typeof params;
    expect(() => optimizer.update({ params, grads: other, state, step: 1 })).toThrow(ConfigError);
  });
});
