import {
  ConfigError,
  type ExpertChoice,
  type ExpertBank,
  ShapeError,
  type TokenChoice,
  UnsupportedError,
  gather,
  mixExperts,
  mul,
  randomKey,
  routeTokens,
  sum,
  tanh,
  valueAndGrad,
} from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gaussianNoise, learnedNoise } from "./noise.ts";
import { thresholdController } from "./expert-choice-controller.ts";
import { type ExpertChoiceOptions, expertChoiceRouter } from "./expert-choice.ts";
import {
  backend,
  distance,
  drawn,
  draws,
  f64,
  identity,
  ranked,
  rowsOf,
  softmaxOf,
  values,
} from "./testing/numbers.ts";

const EXPERTS = 3;
const params = { weight: identity(3) };
const base: ExpertChoiceOptions = { hiddenSize: EXPERTS, numExperts: EXPERTS };

/** Experts that choose, by plain loops: `[G][E]` lists of tokens, best first. */
function chooseByLoops(
  scores: readonly (readonly number[])[],
  groups: readonly number[],
  places: (length: number) => number,
  live: (token: number) => boolean,
): number[][][] {
  return groups.slice(0, -1).map((start, group) => {
    const end = groups[group + 1] as number;
    const tokens = Array.from({ length: end - start }, (_, at) => start + at).filter(live);
    return Array.from({ length: EXPERTS }, (_, expert) => {
      const own = tokens.map((token) => scores[token]?.[expert] as number);
      return ranked(own)
        .map((at) => tokens[at] as number)
        .slice(0, Math.min(places(end - start), end - start));
    });
  });
}

const asExpertChoice = (routing: ExpertChoice | TokenChoice): ExpertChoice => {
  if (routing.kind !== "expert-choice") throw new Error(routing.kind);
  return routing;
};

describe("expertChoiceRouter", () => {
  it("lets experts take their best tokens of each group, whatever lengths and masks", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 7 }), { minLength: 1, maxLength: 4 }),
        fc.constantFrom(0.5, 1, 2, 4),
        fc.constantFrom("batch" as const, "sequence" as const),
        fc.nat(1e6),
        fc.boolean(),
        async (lengths, factor, per, seed, masked) => {
          const sequences = lengths.reduce((list, n) => [...list, (list.at(-1) ?? 0) + n], [0]);
          const tokens = sequences.at(-1) ?? 0;
          const x = drawn(seed, [tokens, EXPERTS]);
          const keep = draws(seed + 1, tokens).map((value) => !masked || value > -0.4);
          const mask = masked
            ? backend.tensor(keep, { shape: [tokens], dtype: "bool" })
            : undefined;
          const router = expertChoiceRouter({ ...base, capacity: { factor }, per });
          const routing = asExpertChoice(router.route(params, {}, x, { sequences, mask }));
          const scores = (await rowsOf(x)).map(softmaxOf);
          const groups = per === "batch" ? [0, tokens] : sequences;
          const places = (length: number): number => Math.ceil((length * factor) / EXPERTS);
          const wanted = chooseByLoops(scores, groups, places, (token) => keep[token] === true);
          const size = routing.tokens.shape[2] ?? 0;
          const fill = (list: readonly number[], by: number): number[] =>
            Array.from({ length: size }, (_, at) => list[at] ?? by);
          expect(await values(routing.tokens)).toEqual(
            wanted.flat().flatMap((list) => fill(list, tokens)),
          );
          const weights = wanted.flatMap((group) =>
            group.flatMap((list, e) =>
              fill(
                list.map((t) => scores[t]?.[e] as number),
                0,
              ),
            ),
          );
          expect(distance(await values(routing.weights), weights)).toBeLessThan(1e-12);
          const longest = Math.max(...groups.slice(1).map((end, at) => end - (groups[at] ?? 0)));
          expect(size).toBe(Math.min(places(longest), longest));
        },
      ),
      { seed: 4, numRuns: 60 },
    );
  });

  it("takes an absolute number, too, and ties go by position", async () => {
    const router = expertChoiceRouter({ ...base, capacity: { absolute: 2 } });
    const routing = asExpertChoice(router.route(params, {}, f64(new Array(15).fill(1), [5, 3])));
    expect(await values(routing.tokens)).toEqual([0, 1, 0, 1, 0, 1]);
  });

  it("keeps NaN with its token, which is chosen last", async () => {
    const x = draws(3, 18);
    x[3] = Number.NaN;
    const whole = expertChoiceRouter({ ...base, capacity: { factor: 3 } });
    const half = expertChoiceRouter({ ...base, capacity: { factor: 1 } });
    const all = asExpertChoice(whole.route(params, {}, f64(x, [6, 3])));
    const tokens = await values(all.tokens);
    const weights = await values(all.weights);
    expect(tokens.map((token) => token === 1)).toEqual(weights.map(Number.isNaN));
    expect(tokens.filter((_, at) => at % 6 === 5)).toEqual([1, 1, 1]);
    const some = asExpertChoice(half.route(params, {}, f64(x, [6, 3])));
    expect(await values(some.tokens)).not.toContain(1);
  });

  it("draws its noise in training only, with a key or as given", async () => {
    const router = expertChoiceRouter({ ...base, noise: gaussianNoise(2) });
    const x = drawn(5, [6, 3]);
    const noise = drawn(6, [6, 3]);
    expect(() => router.route(params, {}, x, { training: true })).toThrow(/key/);
    const noisy = router.route(params, {}, x, { training: true, noise });
    const wanted = (await values(x)).map((value, at) => value + 2 * (draws(6, 18)[at] as number));
    expect(distance(await values(noisy.logits), wanted)).toBeLessThan(1e-12);
    expect(await values(noisy.noise?.clean)).toEqual(await values(x));
    const calm = router.route(params, {}, x, { noise });
    expect(await values(calm.logits)).toEqual(await values(x));
  });

  it("has the gradients of a whole layer", async () => {
    const router = expertChoiceRouter({ ...base, capacity: { factor: 1.5 }, bias: true });
    const bank: ExpertBank<undefined> = {
      experts: EXPERTS,
      inputSize: 3,
      outputSize: 3,
      init: () => ({ params: undefined, state: {} }),
      forward: (_, rows) => tanh(gather(rows)),
    };
    const given = { weight: drawn(7, [3, 3]), bias: drawn(8, [3]), x: drawn(9, [5, 3]) };
    const loss = ({ x, ...own }: typeof given) => {
      const routing = asExpertChoice(router.route(own, {}, x, { sequences: [0, 2, 5] }));
      return sum(mul(mixExperts(bank, undefined, x, routing), drawn(10, [5, 3])));
    };
    const { grads } = valueAndGrad(loss)(given);
    for (const key of ["weight", "bias", "x"] as const) {
      const data = await values(given[key]);
      const slopes = await values(grads[key]);
      for (const [at, value] of data.entries()) {
        const moved = (by: number): Promise<number> =>
          loss({ ...given, [key]: f64(data.with(at, value + by), given[key].shape) }).item();
        const difference = ((await moved(1e-6)) - (await moved(-1e-6))) / 2e-6;
        expect(slopes[at], `${key}[${at}]`).toBeCloseTo(difference, 6);
      }
    }
  });

  it("refuses what makes no sense", () => {
    const bad: readonly (readonly [Partial<ExpertChoiceOptions>, RegExp])[] = [
      [{ capacity: { factor: 0 } }, /capacity is .*0.* above 0/],
      [{ capacity: { absolute: 0 } }, /capacity/],
      [{ capacity: { factor: -1 } }, /factor/],
      [{ capacity: { absolute: 1.5 } }, /absolute/],
      [{ mode: "guess" as never }, /guess/],
      [{ per: "token" as never }, /token/],
      [{ maxActive: 4 }, /maxActive/],
      [{ numExperts: 0 }, /numExperts/],
      [{ noise: learnedNoise() }, /noise/],
    ];
    for (const [options, message] of bad) {
      expect(() => expertChoiceRouter({ ...base, ...options })).toThrow(ConfigError);
      expect(() => expertChoiceRouter({ ...base, ...options })).toThrow(message);
    }
    const router = expertChoiceRouter(base);
    const mask = backend.tensor([true, false]);
    expect(() => router.route(params, {}, drawn(1, [3, 3]), { mask })).toThrow(ShapeError);
    expect(() => router.route(params, {}, drawn(1, [3, 2]))).toThrow(ShapeError);
  });
});

describe("threshold", () => {
  const router = expertChoiceRouter({ ...base, mode: "threshold" });

  it("sends each token by itself to the experts whose threshold it reaches", async () => {
    const x = drawn(11, [8, 3]);
    const state = { thresholds: f64([0.2, 0.5, 0.3], [3]) };
    const routing = router.route(params, state, x);
    if (routing.kind !== "token-choice") throw new Error(routing.kind);
    const scores = (await rowsOf(x)).map(softmaxOf);
    const limits = [0.2, 0.5, 0.3];
    const wanted = scores.map((row) =>
      ranked(row).filter((e) => (row[e] as number) >= (limits[e] as number)),
    );
    const found = (await rowsOf(routing.indices)).map((row) => row.filter((e) => e < EXPERTS));
    expect(found).toEqual(wanted);
    expect(routing.maxActive).toBe(EXPERTS);
    const rows = await rowsOf(x);
    for (const [token, row] of rows.entries()) {
      const alone = router.route(params, state, f64(row, [1, 3]));
      if (alone.kind !== "token-choice") throw new Error(alone.kind);
      expect(await values(alone.indices)).toEqual((await rowsOf(routing.indices))[token]);
    }
    const few = expertChoiceRouter({ ...base, mode: "threshold", maxActive: 1 });
    const one = few.route(params, { thresholds: f64([0, 0, 0], [3]) }, x);
    expect(one.kind === "token-choice" && one.indices.shape).toEqual([8, 1]);
  });

  it("starts from 1/E, needs its state, and chooses in training", () => {
    const { state } = router.init(randomKey(1), { backend });
    expect(router.stateShapes).toEqual({ thresholds: [3] });
    const x = drawn(1, [4, 3]);
    expect(router.route(params, state, x).kind).toBe("token-choice");
    expect(router.route(params, {}, x, { training: true }).kind).toBe("expert-choice");
    expect(() => router.route(params, {}, x)).toThrow(/thresholds/);
    expect(() => router.route(params, { thresholds: f64([1], [1]) }, x)).toThrow(ShapeError);
  });

  it("learns the smallest scores that found a place", async () => {
    const state = { thresholds: f64([0.5, 0.5, 0.5], [3]) };
    const routings = [20, 21].map((seed) =>
      router.route(params, {}, drawn(seed, [6, 3]), { training: true, sequences: [0, 3, 6] }),
    );
    const controller = thresholdController({ momentum: 0.75 });
    const next = await values(controller.update(state, routings).thresholds);
    const least = await Promise.all(
      routings.map(async (routing) => {
        const weights = await rowsOf(asExpertChoice(routing).weights);
        return weights.map((row) => Math.min(...row));
      }),
    );
    const wanted = [0, 1, 2].map(
      (e) => 0.75 * 0.5 + (0.25 * ((least[0]?.[e] ?? 0) + (least[1]?.[e] ?? 0))) / 2,
    );
    expect(distance(next, wanted)).toBeLessThan(1e-12);
  });

  it("comes to take as many tokens as in training", async () => {
    const controller = thresholdController({ momentum: 0.9 });
    const own = expertChoiceRouter({ ...base, mode: "threshold", capacity: { factor: 1 } });
    let { state } = own.init(randomKey(1), { backend, dtype: "f64" });
    for (let step = 0; step < 60; step++) {
      const x = drawn(100 + step, [60, 3]);
      state = controller.update(state, [own.route(params, state, x, { training: true })]);
    }
    const routing = own.route(params, state, drawn(999, [600, 3]));
    if (routing.kind !== "token-choice") throw new Error(routing.kind);
    const chosen = (await values(routing.indices)).filter((e) => e < EXPERTS).length;
    expect(chosen / 600).toBeGreaterThan(0.85);
    expect(chosen / 600).toBeLessThan(1.15);
  });

  it("keeps the threshold of an expert without tokens, and refuses other routings", async () => {
    const controller = thresholdController();
    const state = { thresholds: f64([0.1, 0.2, 0.3], [3]) };
    const mask = backend.tensor([false, false]);
    const empty = router.route(params, {}, drawn(1, [2, 3]), { training: true, mask });
    expect(await values(controller.update(state, [empty]).thresholds)).toEqual([0.1, 0.2, 0.3]);
    const chosen = routeTokens(
      { experts: 3, topK: 1, score: "softmax" },
      { logits: drawn(1, [2, 3]) },
    );
    expect(() => controller.update(state, [chosen])).toThrow(UnsupportedError);
    expect(() => controller.update(state, [])).toThrow(ConfigError);
    expect(() => controller.update({}, [empty])).toThrow(/threshold/);
    for (const momentum of [1, -0.1]) {
      expect(() => thresholdController({ momentum })).toThrow(/momentum/);
    }
  });
});
