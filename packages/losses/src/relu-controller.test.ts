import {
  ConfigError,
  type Tensor,
  type TokenChoice,
  loadOf,
  mul,
  relu,
  select,
  greater,
  hostNormal,
  randomKey,
  topK,
  valueAndGrad,
} from "@moiety/core";
import { reluRouter } from "@moiety/routers";
import { describe, expect, it } from "vitest";
import { reluController, reluSparsity } from "./index.ts";
import { backend, f64 } from "./testing/routings.ts";

const EXPERTS = 4;
const TOKENS = 5;
const draws = [...hostNormal(randomKey(3), TOKENS * EXPERTS)];
const loss = reluSparsity({ coefficient: 1, topK: 2 });

/** A routing of ReMoE from logits `[T, E]`, without a router. */
function routingOf(logits: Tensor, coefficient: number, mask?: Tensor): TokenChoice {
  const scores = relu(logits);
  const [values, indices] = topK(scores, undefined, { k: EXPERTS });
  const selected = select(greater(values, 0), indices, EXPERTS);
  const carry = { sparsityCoefficient: backend.tensor([coefficient], { shape: [], dtype: "f64" }) };
  const common = { experts: EXPERTS, logits, scores, mask, carry };
  return { kind: "token-choice", ...common, indices: selected, selected, outputWeights: values };
}

/** The loss by plain loops, over the tokens that count. */
function plainLoss(logits: readonly number[], tokens: readonly number[], k: number): number {
  const sums = [0, 1, 2, 3].map((expert) => {
    const own = tokens.map((token) => Math.max(logits[token * EXPERTS + expert] as number, 0));
    const active = own.filter((value) => value > 0).length;
    const mean = own.reduce((a, b) => a + b, 0) / tokens.length;
    return (active / (k * tokens.length)) * mean;
  });
  return EXPERTS * sums.reduce((a, b) => a + b);
}

describe("reluSparsity", () => {
  it("is λ · E · Σ f · mean weight, padding left out", async () => {
    const logits = f64(draws, [TOKENS, EXPERTS]);
    const whole = await loss.evaluate([routingOf(logits, 0.5)]).item();
    expect(whole).toBeCloseTo(0.5 * plainLoss(draws, [0, 1, 2, 3, 4], 2), 12);
    const mask = backend.tensor([true, false, true, true, false]);
    const masked = await loss.evaluate([routingOf(logits, 1, mask)]).item();
    expect(masked).toBeCloseTo(plainLoss(draws, [0, 2, 3], 2), 12);
  });

  it("has the gradient of the weights, counts and λ held fixed", async () => {
    const step = valueAndGrad((logits: Tensor) => loss.evaluate([routingOf(logits, 2)]));
    const { grads } = step(f64(draws, [TOKENS, EXPERTS]));
    const slopes = await grads?.read();
    for (const [at, value] of draws.entries()) {
      const moved = (by: number): number =>
        2 * plainLoss(draws.with(at, value + by), [0, 1, 2, 3, 4], 2);
      expect(slopes?.[at]).toBeCloseTo((moved(1e-6) - moved(-1e-6)) / 2e-6, 7);
    }
  });

  it("is lower for even load than for the same weights on one expert", async () => {
    const diagonal = Array.from({ length: 16 }, (_, at) => (at % 5 === 0 ? 1 : -1));
    const column = Array.from({ length: 16 }, (_, at) => (at % 4 === 0 ? 1 : -1));
    const [even, uneven] = await Promise.all(
      [diagonal, column].map((data) => loss.evaluate([routingOf(f64(data, [4, 4]), 1)]).item()),
    );
    // Each f is 1/8 against 1/2, each mean weight 1/4 against 1.
    expect(even).toBeCloseTo(4 * 4 * (1 / 8) * (1 / 4), 12);
    expect(uneven).toBeCloseTo(4 * (1 / 2), 12);
  });

  it("reads λ from the routing of a reluRouter, and refuses one without", async () => {
    const router = reluRouter({ hiddenSize: 2, numExperts: 4, initialCoefficient: 3 });
    const { params, state } = router.init(randomKey(1), { backend, dtype: "f64" });
    const routing = router.route(params, state, f64([1, 2, 3, 4], [2, 2]));
    const one = { ...routing, carry: { sparsityCoefficient: f64([1], []) } };
    const [full, single] = [loss.evaluate([routing]), loss.evaluate([one])];
    expect(await full.item()).toBeCloseTo(await mul(single, 3).item(), 12);
    expect(() => loss.evaluate([{ ...routing, carry: undefined }])).toThrow(/sparsityCoefficient/);
  });
});

describe("reluController", () => {
  const controller = reluController({ experts: EXPERTS, topK: 2 });
  const at = (coefficient: number) => ({ sparsityCoefficient: f64([coefficient], []), other: 1 });
  const counts = (...load: readonly number[]): Tensor => backend.tensor(Int32Array.from(load));

  it("grows λ where more than k are active, and shrinks it where fewer are", async () => {
    expect(controller).toMatchObject({ targetSparsity: 0.5, multiplier: 1.2 });
    for (const [load, factor] of [
      [counts(5, 5, 5, 6), 1.2],
      [counts(5, 5, 5, 5), 1],
      [counts(5, 5, 5, 4), 1 / 1.2],
    ] as const) {
      for (const tokens of [10, counts(10).reshape([])]) {
        const next = controller.update(at(0.25), load, tokens);
        expect(await next.sparsityCoefficient?.item()).toBeCloseTo(0.25 * factor, 14);
        expect(next.other).toBe(1);
      }
    }
  });

  it("brings a router to its sparsity, with the loss", async () => {
    const router = reluRouter({
      hiddenSize: 3,
      numExperts: EXPERTS,
      initialCoefficient: 1e-3,
      initializerRange: 0.5,
    });
    const started = router.init(randomKey(4), { backend, dtype: "f64" });
    // A last input of 1 is a bias, without which half of the signs stay positive.
    const inputs = [...hostNormal(randomKey(5), 40)];
    const rows = Array.from({ length: 20 }, (_, t) => [...inputs.slice(2 * t, 2 * t + 2), 1]);
    const x = f64(rows.flat(), [20, 3]);
    let { params, state } = started;
    const sparse = reluController({ experts: EXPERTS, topK: 1 });
    const cost = reluSparsity({ coefficient: 1, topK: 1 });
    const shares: number[] = [];
    for (let step = 0; step < 120; step++) {
      const { grads, aux } = valueAndGrad((own: typeof params) => {
        const routing = router.route(own, state, x);
        return { loss: cost.evaluate([routing]), aux: loadOf(routing) };
      })(params);
      const load = [...(await aux.read())].map(Number);
      shares.push(load.reduce((a, b) => a + b) / 20);
      const [weight, slope] = await Promise.all([params.weight.read(), grads.weight?.read()]);
      const moved = Array.from(weight, (value, i) => Number(value) - 0.1 * Number(slope?.[i] ?? 0));
      params = { weight: f64(moved, [EXPERTS, 3]) };
      state = sparse.update(state, aux, 20);
    }
    expect(shares[0]).toBeGreaterThan(1.5);
    const late = shares.slice(-20).reduce((a, b) => a + b) / 20;
    expect(late).toBeLessThanOrEqual(1.1);
  });

  it("refuses bad input by name", () => {
    const make = (options: object) => () => reluController({ experts: 4, topK: 2, ...options });
    expect(make({ experts: 0 })).toThrow(/experts is 0/);
    expect(make({ topK: 5 })).toThrow(/topK is 5/);
    expect(make({ multiplier: 1 })).toThrow(/multiplier is 1/);
    expect(() => reluSparsity({ coefficient: 1, topK: 0 })).toThrow(ConfigError);
    expect(() => controller.update({}, counts(1, 1, 1, 1), 2)).toThrow(/sparsityCoefficient/);
    expect(() => controller.update(at(1), counts(1, 1), 2)).toThrow(/load\.size is 2/);
    expect(() => controller.update(at(1), counts(1, 1, 1, 1), -1)).toThrow(/tokens is -1/);
  });
});
