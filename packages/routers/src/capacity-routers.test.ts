import {
  ConfigError,
  type RouteSpec,
  type TokenChoice,
  capacityOf,
  checkRouteSpec,
} from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  deepspeedCapacity,
  gshardCapacity,
  megatronCapacity,
  switchCapacity,
  tutelCapacity,
  tutelPlaces,
  vmoeCapacity,
} from "./capacity-presets.ts";
import type { LinearRouter } from "./linear-router.ts";
import { type MegatronOptions, megatronRouter, megatronSpec } from "./megatron.ts";
import { type TutelOptions, tutelRouter } from "./tutel.ts";
import { type VmoeOptions, vmoeRouter } from "./vmoe.ts";
import {
  backend,
  distance,
  draws,
  f64,
  ranked,
  rowsOf,
  softmaxOf,
  values,
} from "./testing/numbers.ts";
import { placeByLoops, shared, survivors } from "./testing/places.ts";

const EXPERTS = 4;
const identity = (experts: number): readonly number[] =>
  Array.from({ length: experts ** 2 }, (_, at) => (at % (experts + 1) ? 0 : 1));
const sizeOf = (preset: Pick<RouteSpec, "capacity">, tokens: number, k: number): number => {
  if (!preset.capacity) throw new Error("no capacity");
  return capacityOf(preset.capacity, tokens, k, EXPERTS);
};

/** A batch of sequences, with padding or without. */
interface Batch {
  readonly lengths: readonly number[];
  readonly seed: number;
  readonly masked: boolean;
}
const batches: fc.Arbitrary<Batch> = fc.record({
  lengths: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 3 }),
  seed: fc.nat(1e6),
  masked: fc.boolean(),
});

function batchOf({ lengths, seed, masked }: Batch, experts = EXPERTS) {
  const sequences = lengths.reduce((list, n) => [...list, (list.at(-1) ?? 0) + n], [0]);
  const tokens = sequences.at(-1) ?? 0;
  const data = draws(seed, tokens * experts);
  const keep = draws(seed + 1, tokens).map((value) => !masked || value > -0.5);
  const mask = masked ? backend.tensor(keep, { shape: [tokens], dtype: "bool" }) : undefined;
  const rows = Array.from({ length: tokens }, (_, t) => data.slice(t * experts, (t + 1) * experts));
  return { logits: f64(data, [tokens, experts]), rows, sequences, tokens, keep, mask };
}

function routeOf(router: LinearRouter, batch: ReturnType<typeof batchOf>): TokenChoice {
  const { logits, sequences, mask } = batch;
  const params = { weight: f64(identity(router.experts), [router.experts, router.experts]) };
  return router.route(params, {}, logits, { sequences, mask });
}

async function expectPlaced(
  routing: TokenChoice,
  placed: readonly (readonly number[])[],
  weights: readonly (readonly number[])[],
): Promise<void> {
  expect(await rowsOf(routing.indices)).toEqual(placed);
  const wanted = survivors(weights, placed, routing.experts).flat();
  expect(distance(await values(routing.outputWeights), wanted)).toBeLessThan(1e-12);
}

describe("capacity presets", () => {
  it("have the places of their sources", () => {
    for (const tokens of [1, 7, 16, 17, 64]) {
      for (const factor of [0.5, 1, 1.25, 2]) {
        const even = tokens / EXPERTS;
        const own = { capacityFactor: factor };
        expect(sizeOf(switchCapacity(own), tokens, 1)).toBe(Math.floor(even * factor));
        expect(sizeOf(gshardCapacity(own), tokens, 2)).toBe(Math.max(4, Math.floor(even * factor)));
        expect(sizeOf(gshardCapacity({ ...own, minimum: 0 }), tokens, 2)).toBe(
          Math.floor(even * factor),
        );
        for (const k of [1, 2, 3]) {
          expect(sizeOf(megatronCapacity(own), tokens, k)).toBe(Math.ceil(even * k * factor));
          const least = { ...own, gate: "topk", minCapacity: 3 } as const;
          expect(sizeOf(deepspeedCapacity(least), tokens, k)).toBe(
            Math.max(3, Math.ceil(even * factor * k)),
          );
          const four = Math.ceil(Math.ceil((tokens * k * factor) / EXPERTS) / 4) * 4;
          expect(sizeOf(vmoeCapacity(own), tokens, k)).toBe(four);
          const tutel = { ...own, topK: k, experts: EXPERTS, tokens };
          const places = k * Math.floor(factor * Math.ceil(even));
          expect(sizeOf(tutelCapacity(tutel), tokens, k)).toBe(places);
          expect(tutelPlaces({ ...tutel, capacityFactor: -factor })).toBe(places);
          expect(tutelPlaces({ ...tutel, alignment: 8 }) % 8).toBe(0);
        }
      }
    }
    expect(
      tutelCapacity({ capacityFactor: 0, topK: 2, experts: 4, tokens: 8 }).capacity,
    ).toBeUndefined();
  });

  it("say who comes first, and when weights are renormalised", () => {
    const own = { capacityFactor: 1 };
    const tutel = { ...own, topK: 2, experts: 4, tokens: 8 };
    const machine = { epsilon: "machine", guard: "max" };
    const rows: readonly (readonly [
      Pick<RouteSpec, "capacity" | "renormalize">,
      string,
      string,
      unknown,
    ])[] = [
      [switchCapacity(own), "sequence", "position", undefined],
      [gshardCapacity(own), "sequence", "choice", { epsilon: 1e-9, when: "before" }],
      [deepspeedCapacity({ ...own, gate: "top1" }), "batch", "random", undefined],
      [deepspeedCapacity({ ...own, gate: "top1", useRts: false }), "batch", "position", undefined],
      [
        deepspeedCapacity({ ...own, gate: "top2" }),
        "batch",
        "choice",
        { ...machine, when: "after" },
      ],
      [
        deepspeedCapacity({ ...own, gate: "topk" }),
        "batch",
        "probability",
        { ...machine, when: "after" },
      ],
      [
        deepspeedCapacity({ gate: "topk", dropPolicy: "position" }),
        "batch",
        "position",
        { ...machine, when: "after" },
      ],
      [megatronCapacity(own), "batch", "probability", undefined],
      [megatronCapacity({ ...own, dropPolicy: "position" }), "batch", "position", undefined],
      [vmoeCapacity(own), "sequence", "choice", undefined],
      [vmoeCapacity({ ...own, batchPriority: true }), "sequence", "prioritized", undefined],
      [tutelCapacity(tutel), "batch", "choice", { ...machine, skipSingle: true }],
      [
        tutelCapacity({ ...tutel, batchPrioritizedRouting: true }),
        "batch",
        "prioritized",
        { ...machine, skipSingle: true },
      ],
    ];
    for (const [preset, per, order, renormalize] of rows) {
      expect(preset.capacity).toMatchObject({ per, order });
      expect(preset.renormalize).toEqual(renormalize);
      const spec: RouteSpec = { experts: 4, topK: 2, score: "softmax", ...preset };
      expect(() => checkRouteSpec(spec)).not.toThrow();
    }
  });

  it("refuse what gives nobody a place", () => {
    for (const capacityFactor of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      for (const make of [switchCapacity, gshardCapacity, megatronCapacity, vmoeCapacity]) {
        expect(() => make({ capacityFactor })).toThrow(ConfigError);
        expect(() => make({ capacityFactor })).toThrow(String(capacityFactor));
      }
      expect(() => deepspeedCapacity({ gate: "top2", capacityFactor })).toThrow(ConfigError);
    }
    expect(() => deepspeedCapacity({ gate: "top3" as never })).toThrow(/top3/);
    expect(() => megatronCapacity({ capacityFactor: 1, dropPolicy: "all" as never })).toThrow(
      /all/,
    );
    const tutel = { topK: 1, experts: 4, tokens: 8 };
    expect(() => tutelCapacity({ ...tutel, capacityFactor: Number.NaN })).toThrow(ConfigError);
    expect(() => tutelCapacity({ ...tutel, alignment: 0 })).toThrow(/alignment/);
  });
});

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
    const params = { weight: f64(identity(EXPERTS), [EXPERTS, EXPERTS]) };
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
