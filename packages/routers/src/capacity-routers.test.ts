import { ConfigError } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type TutelOptions, tutelRouter } from "./tutel.ts";
import { type VmoeOptions, vmoeRouter } from "./vmoe.ts";
import { distance, draws, f64, identity, ranked, softmaxOf, values } from "./testing/numbers.ts";
import { batchOf, batches, expectPlaced, routeOf } from "./testing/batches.ts";
import { placeByLoops, shared } from "./testing/places.ts";

const EXPERTS = 4;
describe("vmoeRouter", () => {
  it("gives places to groups by choice or by the best gate, whatever their lengths", async () => {
    await fc.assert(
      fc.asyncProperty(
        batches,
        fc.constantFrom(1, 2, 3),
        fc.constantFrom(0.5, 1, 1.5),
        fc.constantFrom("ceil" as const, "round" as const),
        fc.constantFrom(1, 4),
        fc.boolean(),
        async (batch, k, capacityFactor, ceilOrRound, multipleOf, batchPriority) => {
          const given = batchOf(batch);
          const exact = (n: number): number => (n * k * capacityFactor) / EXPERTS;
          const halfEven = (v: number): number =>
            v % 1 === 0.5 ? 2 * Math.round(v / 2) : Math.round(v);
          const whole = (n: number): number =>
            ceilOrRound === "ceil" ? Math.ceil(exact(n)) : halfEven(exact(n));
          const places = (n: number): number => Math.ceil(whole(n) / multipleOf) * multipleOf;
          const options: VmoeOptions = {
            hiddenSize: EXPERTS,
            numExperts: EXPERTS,
            numSelectedExperts: k,
            noiseStd: 0,
            capacityFactor,
            ceilOrRound,
            multipleOf,
            batchPriority,
          };
          const router = vmoeRouter(options);
          if (batch.lengths.some((n) => n > 0 && places(n) === 0)) {
            expect(() => routeOf(router, given)).toThrow(/capacityFactor/);
            return;
          }
          const scores = given.rows.map(softmaxOf);
          const chosen = scores.map((row) => ranked(row).slice(0, k));
          const weights = scores.map((row, t) => (chosen[t] ?? []).map((e) => row[e] as number));
          const placed = placeByLoops(chosen, {
            experts: EXPERTS,
            places,
            groups: given.sequences,
            choiceFirst: true,
            rank: batchPriority ? (token) => weights[token]?.[0] ?? 0 : undefined,
            mask: given.keep,
          });
          await expectPlaced(routeOf(router, given), placed, weights);
          expect(router.acrossTokens).toBe(true);
        },
      ),
      { seed: 9, numRuns: 60 },
    );
  });

  it("has noise of deviation 1/E unless told otherwise", async () => {
    const batch = batchOf({ lengths: [6], seed: 4, masked: false });
    const noise = f64(draws(8, 24), [6, EXPERTS]);
    const router = vmoeRouter({ hiddenSize: EXPERTS, numExperts: EXPERTS, capacityFactor: 1 });
    const params = { weight: identity(EXPERTS) };
    const noisy = router.route(params, {}, batch.logits, { noise, training: true });
    const wanted = batch.rows
      .flat()
      .map((value, at) => value + (draws(8, 24)[at] as number) / EXPERTS);
    expect(distance(await values(noisy.logits), wanted)).toBeLessThan(1e-12);
    expect(() =>
      vmoeRouter({ hiddenSize: 4, numExperts: 4, capacityFactor: 1, noiseStd: -1 }),
    ).toThrow(/noiseStd/);
    expect(() => vmoeRouter({ hiddenSize: 4, numExperts: 4, capacityFactor: 0 })).toThrow(
      ConfigError,
    );
  });
});

describe("tutelRouter", () => {
  it("divides before it drops, and ranks by scores", async () => {
    await fc.assert(
      fc.asyncProperty(
        batches,
        fc.constantFrom(1, 2, 3),
        fc.constantFrom(0, 0.5, 1, -1, 2),
        fc.constantFrom(1, 3),
        fc.boolean(),
        fc.boolean(),
        async (batch, topK, capacityFactor, alignment, batchPrioritizedRouting, normalizeGate) => {
          const given = batchOf(batch);
          const options: TutelOptions = {
            hiddenSize: EXPERTS,
            numGlobalExperts: EXPERTS,
            topK,
            capacityFactor,
            alignment,
            batchPrioritizedRouting,
            normalizeGate,
          };
          const scores = given.rows.map(softmaxOf);
          const chosen = scores.map((row) => ranked(row).slice(0, topK));
          const raw = scores.map((row, t) => (chosen[t] ?? []).map((e) => row[e] as number));
          const even = Math.ceil(given.tokens / EXPERTS);
          const bound = topK * Math.floor(Math.abs(capacityFactor) * even);
          const placed = placeByLoops(chosen, {
            experts: EXPERTS,
            places: () => Math.ceil(bound / alignment) * alignment,
            groups: [0, given.tokens],
            choiceFirst: true,
            rank: batchPrioritizedRouting
              ? (token) => Math.max(...(scores[token] ?? []))
              : undefined,
            mask: given.keep,
          });
          const router = tutelRouter(options);
          const weights = normalizeGate && topK > 1 ? shared(raw) : raw;
          await expectPlaced(
            routeOf(router, given),
            capacityFactor === 0 ? chosen : placed,
            weights,
          );
          expect(router.acrossTokens).toBe(capacityFactor !== 0);
        },
      ),
      { seed: 10, numRuns: 60 },
    );
  });

  it("refuses what makes no sense", () => {
    const base: TutelOptions = { hiddenSize: 4, numGlobalExperts: 4 };
    for (const options of [
      { capacityFactor: Number.NaN },
      { alignment: 0.5 },
      { gateNoise: -1 },
      { topK: 0 },
    ]) {
      expect(() => tutelRouter({ ...base, ...options })).toThrow(ConfigError);
    }
  });
});
