import { ConfigError, type RouteContext, ShapeError, randomKey } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { gumbel, injectedDraws, stageDraws } from "./draws.ts";
import { drawKeys } from "./keys.ts";
import { linearRouter } from "./linear-router.ts";
import {
  type RouterNoise,
  gaussianNoise,
  gumbelNoise,
  learnedNoise,
  perExpertNoise,
} from "./noise.ts";
import {
  backend,
  distance,
  drawn,
  draws,
  f64,
  identity,
  rowsOf,
  softmaxOf,
  values,
} from "./testing/numbers.ts";

const EXPERTS = 4;
const key = randomKey(5);
const like = f64([0], [1]);

describe("Gumbel numbers", () => {
  it("have mean γ and variance π²/6, and are finite", async () => {
    const count = 20_000;
    const list = await values(gumbel(key, [count], like));
    expect(list.every(Number.isFinite)).toBe(true);
    const mean = list.reduce((a, b) => a + b) / count;
    const variance = list.reduce((total, value) => total + (value - mean) ** 2, 0) / count;
    const spread = Math.PI ** 2 / 6;
    // Five standard errors; the kurtosis of a Gumbel is 5.4.
    expect(Math.abs(mean - 0.5772156649)).toBeLessThan(5 * Math.sqrt(spread / count));
    expect(Math.abs(variance / spread - 1)).toBeLessThan(5 * Math.sqrt(4.4 / count));
  });

  it("are the same in f32, to its rounding", async () => {
    const wide = await values(gumbel(key, [1000], like));
    const narrow = await values(gumbel(key, [1000], backend.tensor([0], { dtype: "f32" })));
    expect(distance(narrow, wide)).toBeLessThan(1e-5);
  });

  it("make the best noisy logit a sample from the softmax", async () => {
    const logits = [1, 0.2, -0.5, 0];
    const tokens = 8000;
    const router = linearRouter({
      inputSize: EXPERTS,
      spec: { experts: EXPERTS, topK: 1, score: "softmax" },
      noise: gumbelNoise(),
    });
    const x = f64(Array.from({ length: tokens }, () => logits).flat(), [tokens, EXPERTS]);
    const routing = router.route({ weight: identity(EXPERTS) }, {}, x, { training: true, key });
    const chosen = await values(routing.indices);
    for (const [expert, share] of softmaxOf(logits).entries()) {
      const found = chosen.filter((id) => id === expert).length / tokens;
      expect(Math.abs(found - share)).toBeLessThan(5 * Math.sqrt((share * (1 - share)) / tokens));
    }
  });
});

describe("Gumbel noise of a router", () => {
  const router = linearRouter({
    inputSize: EXPERTS,
    spec: { experts: EXPERTS, topK: 2, score: "softmax" },
    noise: gumbelNoise(0.5),
  });
  const x = drawn(3, [6, EXPERTS]);
  const noise = drawn(4, [6, EXPERTS]);

  it("adds the injected numbers times its scale, in training only", async () => {
    const routing = router.route({ weight: identity(EXPERTS) }, {}, x, { training: true, noise });
    const wanted = (await values(x)).map((value, at) => value + 0.5 * (draws(4, 24)[at] ?? 0));
    expect(distance(await values(routing.logits), wanted)).toBeLessThan(1e-12);
    // Shazeer's load loss is of normal noise: nothing is told of another.
    expect(routing.noise).toBeUndefined();
    const evaluated = router.route({ weight: identity(EXPERTS) }, {}, x, { noise });
    expect(await values(evaluated.logits)).toEqual(await values(x));
  });

  it("needs a key or noise, of the right shape", () => {
    const route = (context: RouteContext) => () =>
      router.route({ weight: identity(EXPERTS) }, {}, x, { training: true, ...context });
    expect(route({})).toThrow(expect.objectContaining({ key: "context.key" }));
    expect(route({ noise: drawn(4, [6, 3]) })).toThrow(ShapeError);
  });
});

describe("draws of own stages", () => {
  it("take the place of drawn numbers, or say what is missing", async () => {
    const given = drawn(8, [2, 3]);
    const context = { noise: given };
    expect(await values(stageDraws({ context, key }, "uniform", [2, 3], like))).toEqual(
      await values(given),
    );
    expect(() => stageDraws({ context: {}, key: undefined }, "uniform", [2], like)).toThrow(
      ConfigError,
    );
    expect(() => injectedDraws(given, [3, 2], like)).toThrow(/context\.noise is \[2, ?3\]/);
    const [row = []] = await rowsOf(stageDraws({ context: {}, key }, "uniform", [1, 50], like));
    expect(row.every((value) => value >= 0 && value < 1)).toBe(true);
    expect(new Set(row).size).toBe(50);
  });
});

describe("noise", () => {
  it("per expert has the published scale of V-MoE and Tutel", async () => {
    const logits = f64([1, 2, 3, 4], [2, 2]);
    const routed = (noise: RouterNoise): Promise<number[][]> =>
      rowsOf(
        noise.add(logits, { x: logits, weight: undefined, context: {}, keys: drawKeys(key) }).noisy,
      );
    expect(await routed(perExpertNoise(1, 8))).toEqual(await routed(gaussianNoise(1 / 8)));
  });

  it.each([
    ["noise.deviation", () => gaussianNoise(0)],
    ["noise.deviation", () => perExpertNoise(0, 8)],
    ["noise.scale", () => gumbelNoise(Number.NaN)],
    ["noise.minimum", () => learnedNoise(-1)],
  ])("refuses a bad %s", (name, make) => {
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(name);
  });
});
