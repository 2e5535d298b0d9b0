import { ConfigError, loadOf, randomKey, sum, valueAndGrad } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type ForcedBalanceRouterOptions,
  forceBalance,
  forcedBalanceRouter,
  linearRouter,
  sparseMixerRouter,
} from "./index.ts";
import { backend, drawn, f64, rowsOf, softmaxOf, values } from "./testing/numbers.ts";

const WIDTH = 3;
const options: ForcedBalanceRouterOptions = {
  inputSize: WIDTH,
  spec: { experts: 5, topK: 2, score: "softmax" },
};

describe("forceBalance", () => {
  it("gives every expert its turn: loads differ by at most 1, padding left out", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 7 }),
        fc.integer({ min: 1, max: 7 }),
        fc.array(fc.boolean(), { minLength: 1, maxLength: 25 }),
        async (experts, wanted, mask) => {
          const topK = Math.min(wanted, experts);
          const router = forcedBalanceRouter({
            inputSize: WIDTH,
            spec: { experts, topK, score: "softmax" },
          });
          const { params } = router.init(randomKey(1), { backend, dtype: "f64" });
          const x = drawn(71, [mask.length, WIDTH]);
          const routing = router.route(params, {}, x, { mask: backend.tensor(mask) });
          const loads = await values(loadOf(routing));
          expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
          for (const row of await rowsOf(routing.indices)) expect(new Set(row).size).toBe(topK);
        },
      ),
      { numRuns: 60, seed: 7 },
    );
  });

  it("leaves scores and weights to the router inside", async () => {
    const router = forceBalance(linearRouter(options));
    const weight = drawn(72, [5, WIDTH]);
    const x = drawn(73, [4, WIDTH]);
    const routing = router.route({ weight }, {}, x);
    expect(await rowsOf(routing.indices)).toEqual([
      [0, 1],
      [2, 3],
      [4, 0],
      [1, 2],
    ]);
    const shares = (await rowsOf(routing.logits)).map(softmaxOf);
    const found = await rowsOf(routing.outputWeights);
    for (const [token, row] of (await rowsOf(routing.indices)).entries()) {
      for (const [choice, id] of row.entries()) {
        expect(found[token]?.[choice]).toBeCloseTo(shares[token]?.[id] ?? 0, 14);
      }
    }
  });

  it("weighs evenly where asked to, and then the router has no gradient", async () => {
    const router = forcedBalanceRouter({ ...options, weights: "uniform" });
    const weight = drawn(72, [5, WIDTH]);
    const x = drawn(73, [6, WIDTH]);
    const { grads, aux } = valueAndGrad((params: { weight: typeof weight }) => {
      const { outputWeights } = router.route(params, {}, x);
      return { loss: sum(outputWeights), aux: outputWeights };
    })({ weight });
    expect(await values(aux)).toEqual(new Array(12).fill(0.5));
    expect(grads.weight).toBeNull();
  });

  it("drops what has no place, even weights included", async () => {
    const capacity = { size: { absolute: 1 }, per: "batch", order: "position" } as const;
    const router = forcedBalanceRouter({
      ...options,
      spec: { ...options.spec, capacity },
      weights: "uniform",
    });
    const routing = router.route({ weight: drawn(72, [5, WIDTH]) }, {}, drawn(73, [3, WIDTH]));
    expect(await rowsOf(routing.indices)).toEqual([
      [0, 1],
      [2, 3],
      [4, 5],
    ]);
    expect(await values(routing.outputWeights)).toEqual([0.5, 0.5, 0.5, 0.5, 0.5, 0]);
  });

  it("works around routers with stages of their own", async () => {
    const router = forceBalance(sparseMixerRouter({ hiddenSize: WIDTH, numLocalExperts: 5 }));
    const routing = router.route({ weight: drawn(72, [5, WIDTH]) }, {}, drawn(73, [5, WIDTH]));
    expect(await values(loadOf(routing))).toEqual([2, 2, 2, 2, 2]);
  });

  it("refuses what it does not know", () => {
    const make = (): unknown =>
      forcedBalanceRouter({ ...options, weights: "even" } as unknown as ForcedBalanceRouterOptions);
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(expect.objectContaining({ key: "weights" }));
    const router = forcedBalanceRouter(options);
    expect(() => router.route({ weight: f64([0], [1, 1]) }, {}, drawn(73, [3, WIDTH]))).toThrow(
      /params\.weight/,
    );
  });
});
