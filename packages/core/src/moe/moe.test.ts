import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import { glu, sharedExpert } from "@moiety/experts";
import { switchBalance, totalLoss, zLoss } from "@moiety/losses";
import { linearRouter, switchRouter } from "@moiety/routers";
import type { Backend } from "../contract.ts";
import { ConfigError, ShapeError, UnsupportedError } from "../errors.ts";
import { apply, applyAsync } from "../forward.ts";
import { valueAndGrad } from "../gradient.ts";
import { add, mul, sum } from "../ops/index.ts";
import { hostNormal, randomKey } from "../random.ts";
import { sizeOf } from "../shape.ts";
import { type Tensor, isTensor } from "../tensor.ts";
import { at, leavesOf, mapTree } from "../tree.ts";
import { moe } from "./moe.ts";
import type { Routing } from "./routing.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const H = 4;
const spec = { experts: 4, topK: 2, score: "softmax", renormalize: {} } as const;
const range = { initializerRange: 0.8 };

const random = (seed: number, shape: readonly number[]): Tensor =>
  backend.tensor(hostNormal(randomKey(seed), sizeOf(shape)), { shape });
const numbers = async (tensor: Tensor): Promise<number[]> => [...(await tensor.read())];

function parts() {
  const sizes = { hiddenSize: H, intermediateSize: 3, activation: "silu", ...range } as const;
  return {
    router: linearRouter({ inputSize: H, spec, ...range }),
    experts: glu({ ...sizes, experts: 4 }),
    shared: sharedExpert({ ...sizes, gated: true, merge: "gate" }),
    losses: [switchBalance({ coefficient: 0.5 }), zLoss({ coefficient: 0.1 })],
  };
}

describe("moe", () => {
  it("is route, then mix, whatever the leading dimensions", async () => {
    const layer = moe(parts());
    const { params, state } = layer.init(randomKey(1), { backend, dtype: "f64" });
    const x = random(2, [2, 5, H]);
    const result = apply(layer, params, state, x);
    expect(result.output.shape).toEqual([2, 5, H]);
    const flat = x.reshape([10, H]);
    const routing = layer.route(params, state, flat);
    expect(routing.logits.shape).toEqual([10, 4]);
    expect(await numbers(result.routing.logits)).toEqual(await numbers(routing.logits));
    const mixed = layer.mix(params, state, flat, routing);
    expect(mixed.shape).toEqual([10, H]);
    expect(await numbers(mixed)).toEqual(await numbers(result.output));
  });

  it("gives losses and the load of each expert, padding left out", async () => {
    const layer = moe(parts());
    const { params, state } = layer.init(randomKey(1), { backend, dtype: "f64" });
    const x = random(2, [10, H]);
    const all = apply(layer, params, state, x);
    expect(all.losses.map(({ name, coefficient }) => [name, coefficient])).toEqual([
      ["switchBalance", 0.5],
      ["zLoss", 0.1],
    ]);
    const loads = await numbers(all.load);
    expect(loads.reduce((total, load) => total + load, 0)).toBe(20);
    const mask = backend.tensor(
      [true, true, true, false, false, false, false, false, false, true],
      {
        dtype: "bool",
      },
    );
    const some = await numbers(apply(layer, params, state, x, { mask }).load);
    expect(some.reduce((total, load) => total + load, 0)).toBe(8);
  });

  it("may route by another input than the experts'", async () => {
    const layer = moe(parts());
    const { params, state } = layer.init(randomKey(1), { backend, dtype: "f64" });
    const [x, other] = [random(2, [10, H]), random(3, [10, H])];
    const { routing } = apply(layer, params, state, x, { routerInput: other });
    const expected = layer.route(params, state, other);
    expect(await numbers(routing.logits)).toEqual(await numbers(expected.logits));
  });

  it("has the gradient of central differences, indices held", async () => {
    const layer = moe(parts());
    const { params, state } = layer.init(randomKey(1), { backend, dtype: "f64" });
    const x = random(2, [10, H]);
    const upstream = random(4, [10, H]);
    const tree = { params, x };
    const loss = ({ params: p, x: input }: typeof tree): Tensor => {
      const { output, losses } = apply(layer, p, state, input);
      return totalLoss(losses, sum(mul(output, upstream)));
    };
    const { grads } = valueAndGrad(loss)(tree);
    const leaves = leavesOf(tree);
    expect(leaves).toHaveLength(7);
    for (const { path, leaf } of leaves) {
      const gradient = await numbers(at(grads, path) as Tensor);
      const index = gradient.findIndex((value) => Math.abs(value) > 1e-2);
      const nudged = (by: number): typeof tree =>
        mapTree(tree, (other, here) => {
          if (here !== path || !isTensor(leaf)) return other;
          const delta = new Float64Array(leaf.size);
          delta[index] = by;
          return add(leaf, backend.tensor(delta, { shape: leaf.shape }));
        }) as typeof tree;
      const difference = async (step: number): Promise<number> =>
        ((await loss(nudged(step)).item()) - (await loss(nudged(-step)).item())) / (2 * step);
      const numeric = (4 * (await difference(1e-4)) - (await difference(2e-4))) / 3;
      expect(numeric / (gradient[index] ?? Number.NaN), path).toBeCloseTo(1, 7);
    }
  });

  it("takes no tokens", () => {
    const { losses: _, ...rest } = parts();
    const layer = moe(rest);
    const { params, state } = layer.init(randomKey(1), { backend, dtype: "f64" });
    const none = backend.tensor(new Float64Array(), { shape: [0, H] });
    expect(apply(layer, params, state, none).output.shape).toEqual([0, H]);
  });

  it("drops what finds no place, and then gives zeros", async () => {
    const { experts } = parts();
    const router = switchRouter({ hiddenSize: H, numExperts: 4, expertCapacity: 1 });
    const layer = moe({ router, experts });
    const { params, state } = layer.init(randomKey(1), { backend, dtype: "f64" });
    const { output, load } = apply(layer, params, state, random(2, [6, H]));
    const values = await numbers(output);
    const rows = Array.from({ length: 6 }, (_, row) => values.slice(row * H, row * H + H));
    const dropped = rows.filter((row) => row.every((value) => value === 0)).length;
    const counts = await numbers(load);
    expect(counts.reduce((total, count) => total + count, 0)).toBe(6);
    expect(dropped).toBe(6 - counts.filter((count) => count > 0).length);
  });

  it("draws the same bits from the same key, each part its own", async () => {
    const layer = moe(parts());
    const draw = async (seed: number): Promise<number[][]> => {
      const { params } = layer.init(randomKey(seed), { backend });
      return Promise.all(leavesOf(params).map(({ leaf }) => numbers(leaf as Tensor)));
    };
    expect(await draw(1)).toEqual(await draw(1));
    expect(await draw(1)).not.toEqual(await draw(2));
    const firsts = (await draw(1)).map(([first]) => first);
    expect(new Set(firsts).size).toBe(firsts.length);
  });

  it("refuses parts and inputs that do not fit", () => {
    const { router, experts } = parts();
    const fewer = glu({ experts: 3, hiddenSize: H, intermediateSize: 3, activation: "silu" });
    expect(() => moe({ router, experts: fewer })).toThrow(ConfigError);
    const layer = moe({ router, experts });
    const { params, state } = layer.init(randomKey(1), { backend, dtype: "f64" });
    expect(() => apply(layer, params, state, random(2, [5, H + 1]))).toThrow(ShapeError);
    expect(() => apply(layer, params, state, [1, 2] as unknown as Tensor)).toThrow(
      /needs a tensor/,
    );
  });
});

describe("banks that wait", () => {
  const waiting = (routings: Routing[]) => {
    const { router, experts, shared } = parts();
    const prepare = async (_: unknown, routing: Routing): Promise<void> => {
      routings.push(routing);
    };
    return moe({ router, experts: { ...experts, prepare }, shared });
  };

  it("are told the routing before they run", async () => {
    const { losses: _, ...rest } = parts();
    const routings: Routing[] = [];
    const [layer, plain] = [waiting(routings), moe(rest)];
    const { params, state } = layer.init(randomKey(1), { backend, dtype: "f64" });
    const x = random(2, [6, H]);
    const { output } = await applyAsync(layer, params, state, x);
    expect(routings).toHaveLength(1);
    expect(await numbers(output)).toEqual(await numbers(apply(plain, params, state, x).output));
    expect(() => apply(layer, params, state, x)).toThrow(UnsupportedError);
  });

  it("may compute elsewhere; the shared branch stays here", async () => {
    const { losses: _, ...rest } = parts();
    const plain = moe(rest);
    const bare = moe({ router: rest.router, experts: rest.experts });
    const { params, state } = plain.init(randomKey(1), { backend, dtype: "f64" });
    const x = random(2, [6, H]);
    let asked = 0;
    const far = moe({
      ...rest,
      experts: {
        ...rest.experts,
        remote: async (_params, input, routing) => {
          asked++;
          return bare.mix({ ...params, shared: undefined }, state, input, routing);
        },
      },
    });
    const { output } = await applyAsync(far, params, state, x);
    expect(asked).toBe(1);
    expect(await numbers(output)).toEqual(await numbers(apply(plain, params, state, x).output));
  });
});
