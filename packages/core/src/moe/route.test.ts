import create from "@moiety/backend-cpu";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConfigError, ShapeError } from "../errors.ts";
import { valueAndGrad } from "../gradient.ts";
import { mul, sigmoid } from "../ops/arithmetic.ts";
import { atLeast } from "../ops/cast.ts";
import { arange, zeros } from "../ops/creation.ts";
import { broadcast } from "../ops/elementwise.ts";
import { takeAlong } from "../ops/gather.ts";
import { sum } from "../ops/reduction.ts";
import { hostNormal, hostUniform, randomKey } from "../random.ts";
import type { Tensor } from "../tensor.ts";
import { routeTokens } from "./route.ts";
import type { RouteSpec } from "./spec.ts";

const backend = await create();
const f64 = (data: readonly number[], shape: readonly number[]): Tensor =>
  backend.tensor([...data], { shape, dtype: "f64" });
const values = async (tensor: Tensor | null | undefined): Promise<number[]> =>
  tensor ? [...(await tensor.read())] : [];
const draws = (seed: number, count: number): number[] => [...hostNormal(randomKey(seed), count)];

const mixtral: RouteSpec = { experts: 4, topK: 2, score: "softmax", renormalize: {} };
const dropping: RouteSpec = {
  ...mixtral,
  capacity: { size: { absolute: 1 }, per: "sequence", order: "position" },
};

describe("routeTokens", () => {
  it("carries logits, scores, choice and weights, and what the context says", async () => {
    const mask = backend.tensor([true, false]);
    const logits = f64([0, Math.log(3), 0, -50, 1, 1, 1, 1], [2, 4]);
    const routing = routeTokens(mixtral, { logits }, { mask, sequences: [0, 1, 2] });
    expect(routing).toMatchObject({ kind: "token-choice", experts: 4, sequences: [0, 1, 2] });
    expect(routing.mask).toBe(mask);
    expect(routing.logits).toBe(logits);
    expect(routing.inputWeights).toBeUndefined();
    expect(await values(routing.indices)).toEqual([1, 0, 0, 1]);
    const weights = await values(routing.outputWeights);
    [0.75, 0.25, 0.5, 0.5].forEach((wanted, at) => expect(weights[at]).toBeCloseTo(wanted, 12));
  });

  it("weighs inputs instead of outputs where the spec says so", async () => {
    const logits = f64(draws(1, 8), [2, 4]);
    const output = routeTokens(mixtral, { logits });
    const input = routeTokens({ ...mixtral, site: "input" }, { logits });
    expect(await values(input.inputWeights)).toEqual(await values(output.outputWeights));
    expect(await values(input.outputWeights)).toEqual([1, 1, 1, 1]);
  });

  it("drops within sequences: index E, weight 0, while selected stays", async () => {
    const logits = f64([3, 2, 1, 0, 3, 2, 1, 0, 3, 2, 1, 0], [3, 4]);
    const routing = routeTokens(dropping, { logits }, { sequences: [0, 2, 3] });
    expect(await values(routing.selected)).toEqual([0, 1, 0, 1, 0, 1]);
    expect(await values(routing.indices)).toEqual([0, 1, 4, 4, 0, 1]);
    const weights = await values(routing.outputWeights);
    expect(weights.slice(2, 4)).toEqual([0, 0]);
    // Renormalised before: what survives keeps its weight.
    expect((weights[0] ?? 0) + (weights[1] ?? 0)).toBeCloseTo(1, 12);
  });

  it("renormalises over survivors where the spec says after, and scales behind that", async () => {
    const after: RouteSpec = {
      ...dropping,
      capacity: { size: { absolute: 2 }, per: "batch", order: "position" },
      renormalize: { when: "after", epsilon: 1e-9, guard: "max" },
      scale: 2,
    };
    const logits = f64([3, 2, 1, 0, 3, 2, 1, 0, 3, 1, 2, 0, 3, 2, 0, 1], [4, 4]);
    const routing = routeTokens(after, { logits });
    expect(await values(routing.indices)).toEqual([0, 1, 0, 1, 4, 2, 4, 4]);
    const weights = await values(routing.outputWeights);
    expect((weights[0] ?? 0) + (weights[1] ?? 0)).toBeCloseTo(2, 12);
    expect(weights[5]).toBeCloseTo(2, 12);
    expect(weights.slice(6)).toEqual([0, 0]);
    const dropless = routeTokens({ ...after, capacity: undefined }, { logits });
    expect((await values(dropless.outputWeights)).reduce((a, b) => a + b)).toBeCloseTo(8, 12);
  });

  it("has the gradient of the weights that survive", async () => {
    const data = draws(2, 6 * 4);
    const upstream = draws(3, 6 * 2);
    for (const renormalize of [{}, { when: "after", epsilon: 1e-6 }] as const) {
      const spec: RouteSpec = {
        ...mixtral,
        renormalize,
        capacity: { size: { factor: 0.75 }, per: "batch", order: "probability" },
      };
      const loss = (p: { logits: Tensor }): { loss: Tensor; aux: Tensor } => {
        const { outputWeights, indices } = routeTokens(spec, { logits: p.logits });
        return { loss: sum(mul(outputWeights, f64(upstream, [6, 2]))), aux: indices };
      };
      const { grads, aux } = valueAndGrad(loss)({ logits: f64(data, [6, 4]) });
      const slopes = await values(grads.logits);
      const step = 1e-6;
      for (const [at, value] of data.entries()) {
        const moved = async (by: number): Promise<number> => {
          const result = loss({ logits: f64(data.with(at, value + by), [6, 4]) });
          expect(await values(result.aux)).toEqual(await values(aux));
          return result.loss.item();
        };
        const difference = ((await moved(step)) - (await moved(-step))) / (2 * step);
        expect(slopes[at]).toBeCloseTo(difference, 7);
      }
    }
  });

  it("plays choices back: weights and gradients follow, capacity acts again", async () => {
    const logits = f64(draws(3, 12), [3, 4]);
    const made = routeTokens(mixtral, { logits });
    const again = routeTokens(mixtral, { logits }, { selected: made.selected });
    expect(await values(again.outputWeights)).toEqual(await values(made.outputWeights));

    const selected = backend.tensor([3, 1, 0, 2, 3, 4], { shape: [3, 2], dtype: "i32" });
    const forced = routeTokens(mixtral, { logits }, { selected });
    expect(await values(forced.indices)).toEqual([3, 1, 0, 2, 3, 4]);
    const scores = await values(forced.scores);
    const [a = 0, b = 0] = [scores[3], scores[1]];
    const weights = await values(forced.outputWeights);
    expect(weights[0]).toBeCloseTo(a / (a + b), 12);
    expect(weights.slice(4)).toEqual([1, 0]);
    const dropped = routeTokens(dropping, { logits }, { selected });
    expect(await values(dropped.indices)).toEqual([3, 1, 0, 2, 4, 4]);
    const { grads } = valueAndGrad((given: Tensor) =>
      sum(
        mul(
          routeTokens(mixtral, { logits: given }, { selected }).outputWeights,
          f64([1, 2, 3, 4, 5, 6], [3, 2]),
        ),
      ),
    )(logits);
    const [, first = 0, , third = 0] = await values(grads);
    expect(first).toBeCloseTo((a * b) / (a + b) ** 2, 10);
    expect(third).toBeCloseTo((-a * b) / (a + b) ** 2, 10);
    made.selected.dispose();
    expect(again.selected.disposed).toBe(false);
  });

  it("refuses choices that do not fit, by name", () => {
    const logits = f64(draws(3, 12), [3, 4]);
    const selected = backend.tensor([1, 2, 3], { shape: [3, 1], dtype: "i32" });
    expect(() => routeTokens(mixtral, { logits }, { selected })).toThrow(ShapeError);
  });

  it("lets each stage be replaced by a function of tensors", async () => {
    const logits = f64(draws(4, 12), [3, 4]);
    const routing = routeTokens(
      { experts: 4, topK: 2, score: "softmax", scale: 3 },
      { logits },
      {},
      {
        score: (raw) => sigmoid(raw),
        select: ({ scores }) => {
          expect(scores.traced).toBe(false);
          const { backend: on } = scores;
          return broadcast(arange(on, 2).reshape([1, 2]), { shape: [3, 2] });
        },
        weight: ({ scores, indices }) => mul(takeAlong(scores, indices, { axis: 1 }), 10),
      },
    );
    expect(await values(routing.indices)).toEqual([0, 1, 0, 1, 0, 1]);
    const scores = await values(sigmoid(logits));
    expect(await values(routing.scores)).toEqual(scores);
    const weights = await values(routing.outputWeights);
    [0, 1, 4, 5, 8, 9].forEach((at, place) =>
      expect(weights[place]).toBeCloseTo(10 * (scores[at] as number), 12),
    );
    const selectOnly = routeTokens(
      mixtral,
      { logits },
      {},
      {
        select: ({ scores: all }) =>
          broadcast(arange(all.backend, 2).reshape([1, 2]), { shape: [3, 2] }),
      },
    );
    const [first = 0, second = 0] = await values(selectOnly.scores);
    expect((await values(selectOnly.outputWeights))[0]).toBeCloseTo(first / (first + second), 12);
  });

  it("lets the select stage choose outside any gradient", async () => {
    let seen: boolean[] = [];
    const { grads } = valueAndGrad((p: { logits: Tensor }) => {
      const routing = routeTokens(
        mixtral,
        { logits: p.logits },
        {},
        {
          select: (selection) => {
            seen = [selection.logits.traced, selection.scores.traced];
            return broadcast(arange(selection.scores.backend, 2).reshape([1, 2]), {
              shape: [3, 2],
            });
          },
        },
      );
      return sum(mul(routing.outputWeights, f64(draws(5, 6), [3, 2])));
    })({ logits: f64(draws(4, 12), [3, 4]) });
    expect(seen).toEqual([false, false]);
    const slopes = await values(grads.logits);
    // Renormalised over experts 0 and 1: the others cancel out.
    slopes.forEach((slope, at) => expect(Math.abs(slope) > 1e-9).toBe(at % 4 < 2));
  });

  it("refuses stages that give something else, by name", () => {
    const logits = f64(draws(4, 12), [3, 4]);
    const run = (stages: object): unknown => routeTokens(mixtral, { logits }, {}, stages);
    expect(() => run({ select: () => zeros(backend, [3, 1], "i32") })).toThrow(ShapeError);
    expect(() => run({ select: () => zeros(backend, [3, 2], "u32") })).toThrow(/i32/);
    expect(() => run({ weight: () => zeros(backend, [3, 2], "f32") })).toThrow(/weight stage/);
    expect(() => run({ weight: () => undefined })).toThrow(/weight stage gave undefined/);
  });

  it("refuses inputs that do not fit the spec", () => {
    const logits = f64(draws(4, 12), [3, 4]);
    const bias = f64([0, 0, 0, 0], [4]);
    expect(() => routeTokens(mixtral, { logits: f64([1, 2], [1, 2]) })).toThrow(ShapeError);
    expect(() => routeTokens(mixtral, { logits, bias })).toThrow(ConfigError);
    expect(() => routeTokens({ ...mixtral, bias: true }, { logits })).toThrow(ConfigError);
    expect(() => routeTokens(mixtral, { logits }, { sequences: [0, 2] })).toThrow(ConfigError);
    expect(() => routeTokens({ ...mixtral, topK: 5 }, { logits })).toThrow(ConfigError);
  });

  it("routes a token alike wherever it stands, and experts alike whatever their number", async () => {
    const kinds = fc.constantFrom<RouteSpec>(
      mixtral,
      { experts: 4, topK: 3, score: "sigmoid", bias: true, renormalize: { epsilon: 1e-20 } },
      { experts: 4, topK: 1, score: "softmax", selectBy: "logits", weight: "softmaxOfChosen" },
    );
    await fc.assert(
      fc.asyncProperty(kinds, fc.nat(1e6), async (spec, seed) => {
        const tokens = 5;
        const logits = draws(seed, tokens * 4);
        const bias = spec.bias ? draws(seed + 1, 4) : undefined;
        const route = async (
          list: readonly number[],
          own: readonly number[] | undefined,
        ): Promise<{ indices: number[]; weights: number[] }> => {
          const found = routeTokens(spec, {
            logits: f64(list, [tokens, 4]),
            bias: own && f64(own, [4]),
          });
          return {
            indices: await values(found.indices),
            weights: await values(found.outputWeights),
          };
        };
        const shuffled = (count: number, salt: number): number[] => {
          const random = hostUniform(randomKey(seed + salt), count);
          const order = (a: number, b: number): number =>
            (random[a] as number) - (random[b] as number);
          return Array.from({ length: count }, (_, at) => at).sort(order);
        };
        const before = await route(logits, bias);
        const k = spec.topK;
        const places = shuffled(tokens, 2);
        const moved = await route(
          places.flatMap((t) => logits.slice(t * 4, t * 4 + 4)),
          bias,
        );
        const pick = (list: number[]): number[] =>
          places.flatMap((t) => list.slice(t * k, t * k + k));
        expect(moved).toEqual({ indices: pick(before.indices), weights: pick(before.weights) });
        const names = shuffled(4, 3);
        const renamed = await route(
          Array.from({ length: tokens }, (_, t) =>
            names.map((e) => logits[t * 4 + e] as number),
          ).flat(),
          bias && names.map((expert) => bias[expert] as number),
        );
        expect(renamed.indices.map((expert) => names[expert])).toEqual(before.indices);
        renamed.weights.forEach((weight, at) =>
          expect(weight).toBeCloseTo(before.weights[at] ?? 0, 12),
        );
      }),
      { seed: 3, numRuns: 60 },
    );
  });

  it("is not moved by a shift of all logits of a softmax", async () => {
    const logits = draws(9, 12);
    const plain = routeTokens(mixtral, { logits: f64(logits, [3, 4]) });
    const shifted = routeTokens(mixtral, {
      logits: f64(
        logits.map((l) => l + 7),
        [3, 4],
      ),
    });
    expect(await values(shifted.indices)).toEqual(await values(plain.indices));
    const weights = await values(plain.outputWeights);
    (await values(shifted.outputWeights)).forEach((weight, at) =>
      expect(weight).toBeCloseTo(weights[at] ?? 0, 12),
    );
  });

  it("keeps float32 where logits are float32", () => {
    const logits = atLeast(backend.tensor([1, 2, 3, 4], { shape: [1, 4] }), "f32");
    const { scores, outputWeights, indices } = routeTokens(dropping, { logits });
    expect([scores.dtype, outputWeights.dtype, indices.dtype]).toEqual(["f32", "f32", "i32"]);
  });
});
