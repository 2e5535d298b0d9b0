import {
  ConfigError,
  type RouteContext,
  type RandomKey,
  foldIn,
  randomKey,
  splitKey,
  hostUniform,
} from "@moiety/core";
import { describe, expect, it } from "vitest";
import { gaussianNoise, learnedNoise } from "./noise.ts";
import { linearRouter } from "./index.ts";

import { EXPERTS, TOKENS, WIDTH, base, key, linear, start, training, x } from "./testing/linear.ts";
import { distance, draws, f64, values } from "./testing/numbers.ts";

describe("jitter", () => {
  const router = linearRouter({ ...base, jitter: 0.1 });
  const { params } = start(router);

  it("multiplies the input by 1 ± ε in training, as the key says", async () => {
    const ones = f64(new Array(TOKENS * WIDTH).fill(1), [TOKENS, WIDTH]);
    // Each expert reads one input, so that logits show the factors.
    const weight = f64([1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], [EXPERTS, WIDTH]);
    const logitsOf = async (context: RouteContext): Promise<number[]> =>
      values(router.route({ weight }, {}, ones, context).logits);
    const first = await logitsOf(training);
    const factors = first.filter((_, at) => at % EXPERTS < WIDTH);
    for (const factor of factors) expect(Math.abs(factor - 1)).toBeLessThanOrEqual(0.1);
    expect(new Set(factors).size).toBe(TOKENS * WIDTH);
    expect(await logitsOf(training)).toEqual(first);
    expect(await logitsOf({ training: true, key: foldIn(key, 1) })).not.toEqual(first);
  });

  it("does nothing outside training, with or without a key", async () => {
    const plain = await values(linearRouter(base).route(params, {}, x).logits);
    for (const context of [{}, { key }, { training: false, key }]) {
      expect(await values(router.route(params, {}, x, context).logits)).toEqual(plain);
    }
  });

  it("needs a key in training", () => {
    const route = (): unknown => router.route(params, {}, x, { training: true });
    expect(route).toThrow(ConfigError);
    expect(route).toThrow(expect.objectContaining({ key: "context.key" }));
  });
});

describe("noise", () => {
  const standard = draws(50, TOKENS * EXPERTS);
  const injected: RouteContext = { training: true, noise: f64(standard, [TOKENS, EXPERTS]) };

  it("adds the injected standard noise times its scale", async () => {
    const router = linearRouter({ ...base, noise: gaussianNoise(0.25) });
    const { params } = start(router);
    const clean = linear(await values(x), await values(params.weight));
    const routing = router.route(params, {}, x, injected);
    expect(
      distance(
        await values(routing.logits),
        clean.map((value, at) => value + 0.25 * (standard[at] as number)),
      ),
    ).toBeLessThan(1e-12);
    expect(distance(await values(routing.noise?.clean), clean)).toBeLessThan(1e-12);
    expect(await values(routing.noise?.scale)).toEqual(new Array(TOKENS * EXPERTS).fill(0.25));
    const evaluation = router.route(params, {}, x, { ...injected, training: false });
    expect(distance(await values(evaluation.logits), clean)).toBeLessThan(1e-12);
    expect(evaluation.noise).toBeUndefined();
  });

  it("learns its scale: softplus(x · Wₙᵀ) + 1e-2", async () => {
    const router = linearRouter({ ...base, noise: learnedNoise() });
    const params = {
      ...start(router).params,
      noise: f64(draws(7, EXPERTS * WIDTH), [EXPERTS, WIDTH]),
    };
    const clean = linear(await values(x), await values(params.weight));
    const scales = linear(await values(x), await values(params.noise)).map(
      (value) => Math.log1p(Math.exp(value)) + 1e-2,
    );
    const routing = router.route(params, {}, x, injected);
    expect(distance(await values(routing.noise?.scale), scales)).toBeLessThan(1e-12);
    expect(
      distance(
        await values(routing.logits),
        clean.map((value, at) => value + (standard[at] as number) * (scales[at] as number)),
      ),
    ).toBeLessThan(1e-12);
  });

  it("comes behind temperature and softcap, once", async () => {
    const spec = { ...base.spec, temperature: 2, softcap: 1.5 };
    const router = linearRouter({ ...base, spec, noise: gaussianNoise(1) });
    const { params } = start(router);
    const clean = linear(await values(x), await values(params.weight)).map(
      (value) => 1.5 * Math.tanh(value / 2 / 1.5),
    );
    const noisy = clean.map((value, at) => value + (standard[at] as number));
    const routing = router.route(params, {}, x, injected);
    expect(distance(await values(routing.logits), noisy)).toBeLessThan(1e-12);
    const peaks = noisy.map((value) => Math.exp(value));
    const shares = peaks.map((value, at) => {
      const row = at - (at % EXPERTS);
      return value / peaks.slice(row, row + EXPERTS).reduce((a, b) => a + b);
    });
    expect(distance(await values(routing.scores), shares)).toBeLessThan(1e-12);
  });

  it("is drawn by the key: normal, and the same every time", async () => {
    const router = linearRouter({ ...base, noise: gaussianNoise(2) });
    const weight = f64(new Array(EXPERTS * WIDTH).fill(0), [EXPERTS, WIDTH]);
    const many = f64(new Array(1000 * WIDTH).fill(0), [1000, WIDTH]);
    const noise = await values(router.route({ weight }, {}, many, training).logits);
    const mean = noise.reduce((a, b) => a + b) / noise.length;
    const variance = noise.reduce((sum, value) => sum + (value - mean) ** 2, 0) / noise.length;
    // Five standard errors of 4000 draws.
    expect(Math.abs(mean)).toBeLessThan((5 * 2) / Math.sqrt(4000));
    expect(Math.abs(variance / 4 - 1)).toBeLessThan(5 * Math.sqrt(2 / 4000));
    expect(await values(router.route({ weight }, {}, many, training).logits)).toEqual(noise);
    expect(() => router.route({ weight }, {}, many, { training: true })).toThrow(
      expect.objectContaining({ key: "context.key" }),
    );
  });

  it("shares no draw with jitter or with random dropping", async () => {
    const capacity = { size: { absolute: 1 }, per: "batch", order: "random" } as const;
    const router = linearRouter({ ...base, spec: { ...base.spec, topK: 1, capacity } });
    const params = { weight: f64(new Array(EXPERTS * WIDTH).fill(0), [EXPERTS, WIDTH]) };
    const first = (own: RandomKey): number => {
      const list = [...hostUniform(own, TOKENS)];
      return list.indexOf(Math.min(...list));
    };
    let told = 0;
    for (let seed = 0; seed < 8; seed++) {
      const own = randomKey(seed);
      const [jitter, noise, dropping] = splitKey(own, 3).map(first);
      const { indices } = router.route(params, {}, x, { key: own });
      expect((await values(indices)).indexOf(0)).toBe(dropping);
      if (dropping !== jitter && dropping !== noise && dropping !== first(own)) told++;
    }
    expect(told).toBeGreaterThan(0);
  });
});
