import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  type Backend,
  type Tensor,
  add,
  apply,
  at,
  foldIn,
  hostNormal,
  isTensor,
  leavesOf,
  mapTree,
  randomKey,
  valueAndGrad,
} from "@moiety/core";
import { modelLoss } from "../causal-loss.ts";
import { initModel } from "../init-model.ts";
import { tinyConfigs, tinyFamilies, tokens } from "../testing/tiny.ts";
import type { DecoderContext } from "./decoder.ts";
import type { DecoderParams } from "./params.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

describe.each(tinyFamilies)("the loss of %s", (family) => {
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

  it("has the gradient of central differences in every element of every parameter", async () => {
    const { params, loss } = setUp();
    const { grads } = valueAndGrad((tree: DecoderParams) => loss(tree))(params);
    const leaves: Leaf[] = [];
    for (const [index, { path }] of leavesOf(params).entries()) {
      const gradient = (await (at(grads, path) as Tensor).read()) as Float64Array;
      // Directions of length one: what a leaf adds to a slope is about its gradient's mean size.
      const drawn = hostNormal(foldIn(randomKey(3), index), gradient.length);
      const direction = scaled(drawn, 1 / norm(drawn));
      leaves.push({ path, gradient, direction, size: norm(gradient) / gradient.length ** 0.5 });
    }
    expect(leaves.length).toBeGreaterThan(20);
    leaves.sort((a, b) => b.size - a.size);
    // Leaves of about the same size go together, so that none hides behind another.
    for (let first = 0; first < leaves.length; first += TOGETHER) {
      const group = leaves.slice(first, first + TOGETHER);
      const names = group.map(({ path }) => path).join(", ");
      const least = Math.min(...group.map(({ size }) => size));
      expect(least, `${names} get gradients`).toBeGreaterThan(0);
      // Two differences, of which one cancels the other's error: O(step⁴).
      const difference = async (step: number): Promise<number> => {
        const [above, below] = [step, -step].map((by) =>
          backend.scope(() => loss(moved(params, group, by))),
        );
        const rise = ((await above?.item()) ?? 0) - ((await below?.item()) ?? 0);
        return rise / (2 * step);
      };
      const numeric = (4 * (await difference(1e-4)) - (await difference(2e-4))) / 3;
      const slope = group.reduce((sum, leaf) => sum + product(leaf.gradient, leaf.direction), 0);
      const error = Math.abs(numeric - slope) / least;
      expect(error, `${names}: ${slope}, but differences give ${numeric}`).toBeLessThan(1e-6);
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

/** Leaves that are moved at once. */
const TOGETHER = 6;

interface Leaf {
  readonly path: string;
  readonly gradient: Float64Array;
  /** Along which the leaf is moved. */
  readonly direction: Float64Array;
  /** Root of the gradient's mean square. */
  readonly size: number;
}

function product(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
}

function norm(values: Float64Array): number {
  return product(values, values) ** 0.5;
}

function scaled(values: Float64Array, by: number): Float64Array {
  return values.map((value) => value * by);
}

/** The parameters with some leaves moved along their directions. Made in a scope: nothing is left. */
function moved(params: DecoderParams, group: readonly Leaf[], by: number): DecoderParams {
  return mapTree(params, (leaf, path) => {
    const found = group.find((one) => one.path === path);
    if (found === undefined || !isTensor(leaf)) return leaf;
    return add(leaf, backend.tensor(scaled(found.direction, by), { shape: leaf.shape }));
  }) as DecoderParams;
}
