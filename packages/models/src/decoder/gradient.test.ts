import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  type Backend,
  type Tensor,
  add,
  apply,
  at,
  isTensor,
  leavesOf,
  mapTree,
  randomKey,
  valueAndGrad,
} from "@moiety/core";
import { modelLoss } from "../causal-loss.ts";
import { initModel } from "../init-model.ts";
import { tinyConfigs, tokens } from "../testing/tiny.ts";
import type { DecoderContext } from "./decoder.ts";
import type { DecoderParams } from "./params.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

describe.each(["olmoe", "qwen2_moe", "qwen3_moe"])("the loss of %s", (family) => {
  const setUp = () => {
    const ready = initModel(tinyConfigs[family] ?? {}, randomKey(11), { backend, dtype: "f64" });
    const ids = tokens(backend, 2, 6);
    const mask = backend.tensor([1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1], {
      shape: [2, 6],
      dtype: "bool",
    });
    const loss = (params: DecoderParams, context: DecoderContext = {}): Tensor =>
      modelLoss(apply(ready.model, params, ready.state, ids, { mask, ...context }), ids, mask).loss;
    return { ...ready, loss };
  };

  it("has the gradient of central differences in every parameter tensor", async () => {
    const { params, loss } = setUp();
    const { grads } = valueAndGrad((tree: DecoderParams) => loss(tree))(params);
    const paths = leavesOf(params).map(({ path }) => path);
    expect(paths.length).toBeGreaterThan(20);
    for (const path of paths) {
      const gradient = at(grads, path) as Tensor;
      const values = (await gradient.read()) as Float64Array;
      const size = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const index = values.findIndex((value) => Math.abs(value) === size);
      expect(size, `${path} gets a gradient`).toBeGreaterThan(0);
      // Two differences, of which one cancels the other's error: O(step⁴).
      const difference = async (step: number): Promise<number> => {
        const [above, below] = [step, -step].map((by) =>
          backend.scope(() => loss(nudged(params, path, index, by))),
        );
        const rise = ((await above?.item()) ?? 0) - ((await below?.item()) ?? 0);
        return rise / (2 * step);
      };
      const numeric = (4 * (await difference(1e-4)) - (await difference(2e-4))) / 3;
      const error = Math.abs(numeric - (values[index] ?? 0)) / size;
      expect(
        error,
        `${path}[${index}] is ${values[index]}, differences give ${numeric}`,
      ).toBeLessThan(1e-6);
    }
  });

  it("and its gradient are the same to the bit when layers are run again", async () => {
    const { params, loss } = setUp();
    const kept = valueAndGrad((tree: DecoderParams) => loss(tree))(params);
    const again = valueAndGrad((tree: DecoderParams) => loss(tree, { checkpoint: true }))(params);
    expect(await again.loss.read()).toEqual(await kept.loss.read());
    for (const { path } of leavesOf(params)) {
      const [a, b] = [at(again.grads, path), at(kept.grads, path)] as Tensor[];
      expect(await a?.read(), path).toEqual(await b?.read());
    }
  });

  it("leaves nothing behind", () => {
    const { params, loss } = setUp();
    const before = backend.statistics();
    for (const checkpoint of [false, true]) {
      const { loss: value, grads } = valueAndGrad((tree: DecoderParams) =>
        loss(tree, { checkpoint }),
      )(params);
      value.dispose();
      leavesOf(grads).forEach(({ leaf }) => isTensor(leaf) && leaf.dispose());
      const { liveBuffers, liveTensors } = backend.statistics();
      expect({ liveBuffers, liveTensors }).toEqual({
        liveBuffers: before.liveBuffers,
        liveTensors: before.liveTensors,
      });
    }
  });
});

/** The parameters with one element of one leaf changed. Made in a scope: nothing is left. */
function nudged(params: DecoderParams, path: string, index: number, by: number): DecoderParams {
  return mapTree(params, (leaf, at) => {
    if (at !== path || !isTensor(leaf)) return leaf;
    const delta = new Float64Array(leaf.size);
    delta[index] = by;
    return addTo(leaf, delta);
  }) as DecoderParams;
}

function addTo(leaf: Tensor, delta: Float64Array): Tensor {
  return add(leaf, leaf.backend.tensor(delta, { shape: leaf.shape }));
}
