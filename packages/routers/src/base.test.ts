import {
  ConfigError,
  type ExpertBank,
  type Rows,
  type Tensor,
  UnsupportedError,
  apply,
  gather,
  gatherRows,
  loadOf,
  mixExperts,
  moe,
  mul,
  randomKey,
  tanh,
} from "@moiety/core";
import { describe, expect, it } from "vitest";
import { balancedAssignment } from "./assignment.ts";
import { baseExperts, baseRouter } from "./base.ts";
import {
  backend,
  distance,
  drawn,
  expectGradients,
  f64,
  ranked,
  rowsOf,
  times,
  values,
} from "./testing/numbers.ts";

const router = baseRouter({ hiddenSize: 3, numExperts: 4 });
const x = drawn(1, [12, 3]);
const params = { weight: drawn(2, [4, 3]) };

/** y = tanh(x) · factor[expert]. */
function bankOf(factors: readonly number[]): ExpertBank<{ readonly factor: Tensor }> {
  return {
    experts: factors.length,
    inputSize: 3,
    outputSize: 3,
    init: () => ({ params: { factor: f64(factors, [factors.length, 1]) }, state: {} }),
    forward: ({ factor }, rows: Rows) => mul(tanh(gather(rows)), gatherRows(factor, rows.group)),
  };
}

describe("baseRouter", () => {
  it("balances in training and takes the best outside it", async () => {
    const logits = times(await rowsOf(x), await rowsOf(params.weight));
    const training = router.route(params, {}, x, { training: true });
    expect(await values(loadOf(training))).toEqual([3, 3, 3, 3]);
    expect(await values(training.indices)).toEqual(
      await values(balancedAssignment(f64(logits.flat(), [12, 4]))),
    );
    const greedy = router.route(params, {}, x);
    const best = logits.map((row) => ranked(row)[0]);
    expect(await values(greedy.indices)).toEqual(best);
    const alphas = best.map((e, t) => 1 / (1 + Math.exp(-(logits[t]?.[e as number] as number))));
    expect(distance(await values(greedy.outputWeights), alphas)).toBeLessThan(1e-12);
  });

  it("lets no token see another outside training", async () => {
    const whole = await values(router.route(params, {}, x).indices);
    const rows = await rowsOf(x);
    for (const [token, row] of rows.entries()) {
      const alone = router.route(params, {}, f64(row, [1, 3]));
      expect(await values(alone.indices)).toEqual([whole[token]]);
    }
    expect(router.acrossTokens).toBe(true);
  });

  it("gives padding no place", async () => {
    const mask = backend.tensor(Array.from({ length: 12 }, (_, token) => token < 9));
    const routing = router.route(params, {}, x, { training: true, mask });
    expect((await values(routing.indices)).slice(9)).toEqual([4, 4, 4]);
    expect((await values(routing.outputWeights)).slice(9)).toEqual([0, 0, 0]);
    expect(Math.max(...(await values(loadOf(routing))))).toBeLessThanOrEqual(3);
  });

  it("keeps NaN with its token", async () => {
    const rows = await rowsOf(x);
    rows[5] = [Number.NaN, 0, 0];
    const routing = router.route(params, {}, f64(rows.flat(), [12, 3]), { training: true });
    const weights = await values(routing.outputWeights);
    expect(weights.map(Number.isNaN)).toEqual(weights.map((_, token) => token === 5));
    expect(await values(loadOf(routing))).toEqual([3, 3, 3, 3]);
  });

  it("refuses tokens that experts cannot share", () => {
    const odd = drawn(1, [13, 3]);
    const training = (): unknown => router.route(params, {}, odd, { training: true });
    expect(training).toThrow(ConfigError);
    expect(training).toThrow(/13 tokens to 4 experts/);
    expect(() => router.route(params, {}, odd)).not.toThrow();
  });

  it("has the gradient of its weights", async () => {
    const quick = baseRouter({ hiddenSize: 3, numExperts: 2, rounds: 12 });
    const given = { params: { weight: drawn(2, [2, 3]) }, x: drawn(1, [4, 3]) };
    await expectGradients(given, (own) => quick.route(own.params, {}, own.x, { training: true }));
  });
});

describe("baseExperts", () => {
  it("mixes output and input by the weight", async () => {
    const bank = baseExperts(bankOf([1, 2, 3, 4]));
    const own = bank.init(randomKey(1), { backend }).params;
    const routing = router.route(params, {}, x);
    const output = await rowsOf(mixExperts(bank, own, x, routing));
    const [chosen, alphas] = [await values(routing.indices), await values(routing.outputWeights)];
    const wanted = (await rowsOf(x)).map((row, token) => {
      const alpha = alphas[token] as number;
      const factor = (chosen[token] as number) + 1;
      return row.map((value) => alpha * Math.tanh(value) * factor + (1 - alpha) * value);
    });
    expect(distance(output.flat(), wanted.flat())).toBeLessThan(1e-12);
  });

  it("leaves a token without an expert as it is, in a layer too", async () => {
    const layer = moe({ router, experts: baseExperts(bankOf([1, 2, 3, 4])) });
    const { params: own, state } = layer.init(randomKey(1), { backend, dtype: "f64" });
    const mask = backend.tensor(Array.from({ length: 12 }, (_, token) => token !== 4));
    const { output } = apply(layer, own, state, x, { training: true, mask });
    expect((await rowsOf(output))[4]).toEqual((await rowsOf(x))[4]);
  });

  it("refuses banks that it cannot add to their input", () => {
    const wide = { ...bankOf([1, 2]), outputSize: 5 };
    expect(() => baseExperts(wide)).toThrow(UnsupportedError);
    const away = { ...bankOf([1, 2]), remote: async () => x };
    expect(() => baseExperts(away)).toThrow(/runs here/);
  });
});
