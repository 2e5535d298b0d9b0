import { ConfigError, randomKey } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { inklingRouter } from "./index.ts";
import {
  backend,
  distance,
  drawn,
  expectGradients,
  f64,
  ranked,
  redrawn,
  rowsOf,
  times,
} from "./testing/numbers.ts";

const WIDTH = 4;
const ROUTED = 5;
const SHARED = 2;
const K = 2;
const SCALE = 3;
const options = {
  hiddenSize: WIDTH,
  nRoutedExperts: ROUTED,
  nSharedExperts: SHARED,
  numExpertsPerTok: K,
  routeScale: SCALE,
};
const router = inklingRouter(options);
const made = router.init(randomKey(5), { backend, dtype: "f64" });
const params = redrawn(made.params, 21);
const bias = [0.4, -0.2, 0, 0.3, -0.5];
const state = { routedBias: f64(bias, [ROUTED]) };
const x = drawn(8, [6, WIDTH]);
const sigmoid = (value: number): number => 1 / (1 + Math.exp(-value));

describe("inklingRouter", () => {
  it("takes the best routed experts and all shared ones, and normalises them together", async () => {
    const routing = router.route(params, state, x);
    const scores = times(await rowsOf(x), await rowsOf(params.weight)).map((row) =>
      row.map(sigmoid),
    );
    const [indices, weights] = [await rowsOf(routing.indices), await rowsOf(routing.outputWeights)];
    for (const [token, row] of scores.entries()) {
      const biased = row.slice(0, ROUTED).map((score, e) => score + (bias[e] ?? 0));
      const chosen = [...ranked(biased).slice(0, K), ROUTED, ROUTED + 1];
      expect(indices[token]).toEqual(chosen);
      const total = chosen.reduce((sum, e) => sum + (row[e] ?? 0), 0);
      const wanted = chosen.map((e) => (SCALE * (row[e] ?? 0)) / total);
      expect(distance(weights[token] ?? [], wanted)).toBeLessThan(1e-12);
    }
    expect(router.acrossTokens).toBe(false);
    expect(router.stateShapes).toEqual({ routedBias: [ROUTED] });
  });

  it("divides by no sum that has vanished", async () => {
    const far = { weight: f64(new Array<number>(7 * WIDTH).fill(-900), [7, WIDTH]) };
    const ones = f64([1, 1, 1, 1], [1, WIDTH]);
    const [weights] = await rowsOf(router.route(far, state, ones).outputWeights);
    expect(distance(weights ?? [], [0.75, 0.75, 0.75, 0.75])).toBeLessThan(1e-12);
  });

  it("has the gradients of differences", async () => {
    await expectGradients(params, (own) => router.route(own, state, x));
  });

  it.each([
    ["nSharedExperts", { nSharedExperts: 0 }],
    ["numExpertsPerTok", { numExpertsPerTok: 6 }],
  ])("refuses %s that make no sense", (key, change) => {
    const build = (): unknown => inklingRouter({ ...options, ...change });
    expect(build).toThrow(ConfigError);
    expect(build).toThrow(expect.objectContaining({ key }) as Error);
  });
});
