import { type Tensor, type TokenChoice, add, mul } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { importanceCv, loadCv, vmoeLosses } from "./index.ts";
import {
  checkGradient,
  draws,
  f64,
  route,
  routeNoisily,
  total,
  values,
} from "./testing/routings.ts";

const coefficient = 1;
const [tokens, experts, k] = [5, 4, 2];
const data = draws(21, tokens * experts);
const noisy = (logits: Tensor): TokenChoice => routeNoisily({ experts, k, logits }, 9);

/** The normal distribution function, from its series: no erf of the library. */
function phi(x: number): number {
  let [term, sum] = [x, x];
  for (let n = 1; n < 200; n++) {
    term *= (x * x) / (2 * n + 1);
    sum += term;
  }
  return 0.5 + (sum * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);
}

const squaredCv = (list: readonly number[]): number => {
  const mean = total(list) / list.length;
  return total(list.map((value) => (value - mean) ** 2)) / list.length / (mean ** 2 + 1e-10);
};

describe("loadCv", () => {
  it.each(["others", "chosen"] as const)(
    "estimates the load by hand, threshold %s",
    async (threshold) => {
      const routing = noisy(f64(data, [tokens, experts]));
      const logits = [...(await routing.logits.read())];
      const scale = await values(routing.noise?.scale);
      const load = new Array<number>(experts).fill(0);
      for (let t = 0; t < tokens; t++) {
        const row = logits.slice(t * experts, (t + 1) * experts);
        const sorted = [...row].sort((a, b) => b - a);
        for (let e = 0; e < experts; e++) {
          const value = row[e] ?? 0;
          const chosen = value > (sorted[k] ?? 0);
          const limit = sorted[threshold === "others" && chosen ? k : k - 1] ?? 0;
          const at = t * experts + e;
          load[e] = (load[e] ?? 0) + phi(((data[at] ?? 0) - limit) / (scale[at] ?? 1));
        }
      }
      const found = await loadCv({ coefficient, threshold }).evaluate([routing]).item();
      expect(found).toBeCloseTo(squaredCv(load), 10);
    },
  );

  it("has the gradient of its value, thresholds and scales included", async () => {
    for (const threshold of ["others", "chosen"] as const) {
      const loss = loadCv({ coefficient, threshold });
      await checkGradient(loss, [data], (layers) => layers.map(noisy), [tokens, experts]);
    }
  });

  it("counts exactly without noise, and where every expert is chosen", async () => {
    const routing = route({ experts, k, logits: f64(data, [tokens, experts]) });
    const chosen = [...(await routing.selected.read())];
    const counts = [0, 1, 2, 3].map((e) => chosen.filter((c) => c === e).length);
    const loss = loadCv({ coefficient });
    expect(await loss.evaluate([routing]).item()).toBeCloseTo(squaredCv(counts), 12);
    const all = routeNoisily({ experts, k: experts, logits: f64(data, [tokens, experts]) }, 9);
    expect(await loss.evaluate([all]).item()).toBe(0);
  });

  it("takes each sequence for itself", async () => {
    const logits = f64(data, [tokens, experts]);
    const whole = routeNoisily({ experts, k, logits, sequences: [0, 2, 5] }, 9);
    const loss = loadCv({ coefficient, per: "sequence" });
    const part = async (from: number, to: number): Promise<number> => {
      const mask = Array.from({ length: tokens }, (_, t) => t >= from && t < to);
      const one = routeNoisily({ experts, k, logits, mask }, 9);
      return loadCv({ coefficient }).evaluate([one]).item();
    };
    const wanted = ((await part(0, 2)) + (await part(2, 5))) / 2;
    expect(await loss.evaluate([whole]).item()).toBeCloseTo(wanted, 12);
  });

  it("refuses bad options", () => {
    const bad = (options: object): unknown => loadCv({ coefficient, ...options });
    expect(() => bad({ threshold: "best" })).toThrow(/threshold is best/);
    expect(() => bad({ per: "token" })).toThrow(/per is token/);
    expect(() => bad({ epsilon: -1 })).toThrow(/epsilon is -1/);
    expect(() => bad({ variance: "biased" })).toThrow(/variance is biased/);
  });
});

describe("variation", () => {
  it("can be the sample's, and without an ε", async () => {
    const routing = route({ experts, k, logits: f64(data, [tokens, experts]) });
    const of = (options: object): Promise<number> =>
      importanceCv({ coefficient, ...options })
        .evaluate([routing])
        .item();
    expect(await of({ variance: "sample" })).toBeCloseTo(((await of({})) * 4) / 3, 12);
    expect(await of({ epsilon: 0 })).toBeCloseTo(await of({}), 9);
    const nothing = { ...routing, outputWeights: mul(routing.outputWeights, 0) };
    const none = importanceCv({ coefficient, epsilon: 0 });
    expect(await none.evaluate([nothing]).item()).toBe(0);
  });

  it("of importance can look at clean scores", async () => {
    const clean = f64(data, [tokens, experts]);
    const wanted = route({ experts, k, logits: clean });
    const loss = importanceCv({ coefficient, of: "cleanScores" });
    const scores = importanceCv({ coefficient, of: "scores" });
    const found = await loss.evaluate([noisy(clean)]).item();
    expect(found).toBeCloseTo(await scores.evaluate([wanted]).item(), 12);
    expect(await scores.evaluate([noisy(clean)]).item()).not.toBeCloseTo(found, 4);
    expect(await loss.evaluate([wanted]).item()).toBeCloseTo(found, 12);
  });

  it("weighs input weights and straight-through ones as what they are worth", async () => {
    const routing = route({ experts, k, logits: f64(data, [tokens, experts]) });
    const { outputWeights } = routing;
    const ones = add(mul(outputWeights, 0), 1);
    const loss = importanceCv({ coefficient });
    const wanted = await loss.evaluate([routing]).item();
    for (const weights of [
      { inputWeights: outputWeights, outputWeights: ones },
      { inputWeights: ones, outputWeights },
    ]) {
      expect(await loss.evaluate([{ ...routing, ...weights }]).item()).toBeCloseTo(wanted, 14);
    }
    const straight = (layers: readonly Tensor[]): TokenChoice[] =>
      layers.map((logits) => {
        const given = route({ experts, k, logits });
        // A value of 1 with a gradient, as a straight-through dispatch has it: it does not count.
        return { ...given, inputWeights: add(mul(given.outputWeights, 0), 1) };
      });
    await checkGradient(loss, [data], straight, [tokens, experts]);
  });
});

describe("vmoeLosses", () => {
  it("weighs its parts, and leaves out those of weight 0", () => {
    const list = (options: object): unknown[] =>
      vmoeLosses(options).map(({ name, coefficient: weight }) => [name, weight]);
    expect(list({})).toEqual([
      ["importanceCv", 1],
      ["loadCv", 1],
    ]);
    expect(list({ gshard: 0.01, importance: 0.02, load: 0 })).toEqual([
      ["gshardBalance", 0.01],
      ["importanceCv", 0.02],
    ]);
  });
});
