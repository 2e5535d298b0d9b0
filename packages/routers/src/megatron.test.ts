import { ConfigError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { type MegatronOptions, megatronRouter, megatronSpec } from "./megatron.ts";
import { distance, ranked, rowsOf, softmaxOf, values } from "./testing/numbers.ts";
import { batchOf, expectPlaced, routeOf } from "./testing/batches.ts";

describe("megatronRouter", () => {
  const base: MegatronOptions = { hiddenSize: 8, numMoeExperts: 8, moeRouterTopk: 4 };

  it("takes groups by the sum of their ⌊k/groups⌋ best", async () => {
    const options: MegatronOptions = {
      ...base,
      moeRouterScoreFunction: "sigmoid",
      moeRouterNumGroups: 4,
      moeRouterGroupTopk: 2,
    };
    const given = batchOf({ lengths: [9], seed: 3, masked: false }, 8);
    const found = await rowsOf(routeOf(megatronRouter(options), given).indices);
    for (const [token, row] of given.rows.entries()) {
      const scores = row.map((value) => 1 / (1 + Math.exp(-value)));
      const sums = [0, 1, 2, 3].map(
        (g) => (scores[2 * g] as number) + (scores[2 * g + 1] as number),
      );
      const open = ranked(sums).slice(0, 2);
      const wanted = ranked(scores).filter((e) => open.includes(Math.floor(e / 2)));
      expect(found[token]).toEqual(wanted);
    }
  });

  it.each([
    ["softmax", false, (row: number[], e: number[]) => softmaxOf(e.map((i) => row[i] as number))],
    ["softmax", true, (row: number[], e: number[]) => e.map((i) => softmaxOf(row)[i] as number)],
    [
      "sqrtsoftplus",
      false,
      (row: number[], e: number[]) => {
        const s = e.map((i) => Math.sqrt(Math.log1p(Math.exp(row[i] as number))));
        return s.map((value) => value / s.reduce((a, b) => a + b));
      },
    ],
  ] as const)("weighs by %s, before the choice: %s", async (score, pre, weigh) => {
    const given = batchOf({ lengths: [7], seed: 5, masked: false }, 8);
    const options = {
      ...base,
      moeRouterTopk: 2,
      moeRouterScoreFunction: score,
      moeRouterPreSoftmax: pre,
    };
    const routing = routeOf(megatronRouter({ ...options, moeRouterTopkScalingFactor: 3 }), given);
    const wanted = given.rows.flatMap((row) =>
      weigh(row, ranked(row).slice(0, 2)).map((w) => 3 * w),
    );
    expect(distance(await values(routing.outputWeights), wanted)).toBeLessThan(1e-12);
  });

  it("keeps the heaviest or the first, and leaves their weights alone", async () => {
    const given = batchOf({ lengths: [17], seed: 6, masked: true }, 8);
    for (const policy of ["probs", "position"] as const) {
      const options = {
        ...base,
        moeRouterTopk: 2,
        moeRouterPreSoftmax: true,
        moeExpertCapacityFactor: 0.6,
      };
      const routing = routeOf(megatronRouter({ ...options, moeTokenDropPolicy: policy }), given);
      const scores = given.rows.map(softmaxOf);
      const chosen = scores.map((row) => ranked(row).slice(0, 2));
      const weights = scores.map((row, t) => (chosen[t] ?? []).map((e) => row[e] as number));
      const places = Math.ceil(((17 * 2) / 8) * 0.6);
      const asking = chosen.flatMap((row, token) =>
        row.map((expert, j) => ({ token, expert, j, weight: weights[token]?.[j] ?? 0 })),
      );
      const queue = asking.filter(({ token }) => given.keep[token]);
      if (policy === "probs") queue.sort((a, b) => b.weight - a.weight);
      const placed = chosen.map((row) => row.map(() => 8));
      const taken = new Array<number>(8).fill(0);
      for (const { token, expert, j } of queue) {
        if ((taken[expert] as number) >= places) continue;
        taken[expert] = (taken[expert] as number) + 1;
        (placed[token] as number[])[j] = expert;
      }
      await expectPlaced(routing, placed, weights);
    }
  });

  it("leaves a single weight as it is", async () => {
    const given = batchOf({ lengths: [5], seed: 7, masked: false }, 8);
    const options: MegatronOptions = {
      ...base,
      moeRouterTopk: 1,
      moeRouterScoreFunction: "sigmoid",
    };
    const routing = routeOf(megatronRouter(options), given);
    const wanted = given.rows.map((row) => 1 / (1 + Math.exp(-Math.max(...row))));
    expect(distance(await values(routing.outputWeights), wanted)).toBeLessThan(1e-12);
  });

  it("refuses what makes no sense", () => {
    const bad: readonly (readonly [Partial<MegatronOptions>, RegExp])[] = [
      [{ moeRouterEnableExpertBias: true }, /softmax/],
      [{ moeRouterScoreFunction: "tanh" as never }, /tanh/],
      [{ moeRouterGroupTopk: 2 }, /moeRouterNumGroups/],
      [{ moeRouterNumGroups: 3, moeRouterGroupTopk: 2 }, /groups\.count is 3/],
      [{ moeRouterNumGroups: 8, moeRouterGroupTopk: 5 }, /moeRouterGroupTopk is 5/],
      [{ moeRouterTopk: 9 }, /topK is 9/],
      [{ moeExpertCapacityFactor: 0 }, /capacityFactor is 0/],
    ];
    for (const [options, message] of bad) {
      expect(() => megatronRouter({ ...base, ...options })).toThrow(ConfigError);
      expect(() => megatronRouter({ ...base, ...options })).toThrow(message);
    }
    expect(megatronSpec(base).capacity).toBeUndefined();
    expect(megatronRouter(base).acrossTokens).toBe(false);
  });
});
