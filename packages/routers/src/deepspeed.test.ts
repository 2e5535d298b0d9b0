import { ConfigError, type RouteContext, ShapeError, loadOf } from "@moiety/core";
import { describe, expect, it } from "vitest";
import {
  type DeepspeedTop1Options,
  type DeepspeedTopKOptions,
  type LinearRouter,
  deepspeedTop1Router,
  deepspeedTop2Router,
  deepspeedTopKRouter,
} from "./index.ts";
import {
  backend,
  distance,
  drawn,
  draws,
  expectGradients,
  f64,
  ranked,
  rowsOf,
  softmaxOf,
  values,
} from "./testing/numbers.ts";
import { type Choices, placeByLoops, shared, survivors } from "./testing/places.ts";

const EXPERTS = 4;
const TOKENS = 18;
const WIDTH = 3;
const base = { hiddenSize: WIDTH, numExperts: EXPERTS, minCapacity: 2 };
const x = drawn(41, [TOKENS, WIDTH]);
const weight = drawn(42, [EXPERTS, WIDTH]);
const mask = Array.from({ length: TOKENS }, (_, token) => token !== 2 && token !== 17);
const chances = draws(43, TOKENS * EXPERTS).map((value) => Math.abs(value) % 1);
const uniform = f64(chances, [TOKENS, EXPERTS]);
const gumbels = drawn(44, [TOKENS, EXPERTS]);
const context: RouteContext = { training: true, mask: backend.tensor(mask) };

interface Wanted {
  readonly choose: (logits: readonly number[], token: number) => number[];
  readonly place: (chosen: Choices, logits: Choices) => number[][];
  readonly normalized: boolean;
}

async function expectRouting(
  router: LinearRouter,
  given: RouteContext,
  { choose, place, normalized }: Wanted,
): Promise<void> {
  const routing = router.route({ weight }, {}, x, given);
  const logits = await rowsOf(routing.logits);
  const chosen = logits.map(choose);
  const scores = logits.map(softmaxOf);
  const placed = place(chosen, logits);
  const raw = chosen.map((row, token) => row.map((id) => scores[token]?.[id] ?? 0));
  const kept = survivors(raw, placed, EXPERTS);
  expect(await values(routing.selected)).toEqual(chosen.flat());
  expect(await values(routing.indices)).toEqual(placed.flat());
  const weights = (normalized ? shared(kept) : kept).flat();
  expect(distance(await values(routing.outputWeights), weights)).toBeLessThan(1e-14);
  const dropped = placed.flat().filter((id) => id === EXPERTS).length;
  expect(dropped).toBeGreaterThan(router.acrossTokens ? 2 : -1);
}

/** ⌈T / E · (factor · k)⌉, at least 2. */
const capacity = (factor: number, k: number): number =>
  Math.max(Math.ceil((TOKENS / EXPERTS) * (factor * k)), 2);

const queue = (places: number, choiceFirst: boolean) => ({
  experts: EXPERTS,
  places: () => places,
  groups: [0, TOKENS],
  choiceFirst,
  mask,
});

describe("deepspeedTop1Router", () => {
  const best = (logits: readonly number[]): number[] => ranked(logits).slice(0, 1);

  it.each([0.4, 0.6, 1])("leaves places to chance, factor %s", async (capacityFactor) => {
    const router = deepspeedTop1Router({ ...base, capacityFactor });
    await expectRouting(
      router,
      { ...context, noise: uniform },
      {
        choose: best,
        place: (chosen) =>
          placeByLoops(chosen, {
            ...queue(capacity(capacityFactor, 1), false),
            rank: (token) => chances[token * EXPERTS + (chosen[token]?.[0] ?? 0)] ?? 0,
          }),
        normalized: false,
      },
    );
  });

  it.each([
    [{ useRts: false }, true],
    [{ evalCapacityFactor: 0.5 }, false],
  ] as const)("goes by position: %j, training %s", async (options, training) => {
    const router = deepspeedTop1Router({ ...base, capacityFactor: 0.5, ...options });
    await expectRouting(
      router,
      { ...context, training },
      {
        choose: best,
        place: (chosen) => placeByLoops(chosen, queue(capacity(0.5, 1), false)),
        normalized: false,
      },
    );
  });

  it("chooses by noisy logits with RSample, and draws twice", async () => {
    const both = backend.tensor(Float64Array.from([...draws(44, TOKENS * EXPERTS), ...chances]), {
      shape: [2, TOKENS, EXPERTS],
    });
    const noise = await rowsOf(gumbels);
    const router = deepspeedTop1Router({
      ...base,
      capacityFactor: 0.5,
      noisyGatePolicy: "RSample",
    });
    await expectRouting(
      router,
      { ...context, noise: both },
      {
        choose: (row, token) => best(row.map((logit, e) => logit + (noise[token]?.[e] ?? 0))),
        place: (chosen) =>
          placeByLoops(chosen, {
            ...queue(capacity(0.5, 1), false),
            rank: (token) => chances[token * EXPERTS + (chosen[token]?.[0] ?? 0)] ?? 0,
          }),
        normalized: false,
      },
    );
  });

  it("drops nothing where told so, and counts before dropping", async () => {
    const router = deepspeedTop1Router({ ...base, dropTokens: false });
    expect(router.acrossTokens).toBe(false);
    const routing = router.route({ weight }, {}, x, { training: true });
    expect(await values(routing.indices)).toEqual(await values(routing.selected));
    const small = deepspeedTop1Router({ ...base, capacityFactor: 0.1, useRts: false });
    const loads = await values(loadOf(small.route({ weight }, {}, x, { training: true })));
    expect(loads.reduce((a, b) => a + b)).toBe(TOKENS);
  });
});

describe("deepspeedTop2Router", () => {
  it.each([
    [true, true, 0.7],
    [true, false, 1],
    [false, true, 0.7],
    [false, false, 0.7],
  ])("sampling %s, training %s, factor %s", async (sampling, training, factor) => {
    const router = deepspeedTop2Router({
      ...base,
      capacityFactor: factor,
      evalCapacityFactor: factor,
      top2SecondExpertSampling: sampling,
    });
    const noise = await rowsOf(gumbels);
    const given = { ...context, training, noise: sampling && training ? gumbels : undefined };
    await expectRouting(router, given, {
      choose(row, token) {
        const [first = 0] = ranked(row);
        const others = row.map((logit, expert) =>
          expert === first
            ? Number.NEGATIVE_INFINITY
            : logit + (sampling && training ? (noise[token]?.[expert] ?? 0) : 0),
        );
        return [first, ranked(others)[0] ?? 0];
      },
      place: (chosen) => placeByLoops(chosen, queue(capacity(factor, 2), true)),
      normalized: true,
    });
  });
});

describe("deepspeedTopKRouter", () => {
  const best = (logits: readonly number[]): number[] => ranked(logits).slice(0, 3);

  /** Each expert's column of logits, 0 where it was not chosen; its largest stay. */
  const placeLargest =
    (places: number) =>
    (chosen: Choices, logits: Choices): number[][] => {
      const placed = chosen.map((row) => row.map(() => EXPERTS));
      for (let expert = 0; expert < EXPERTS; expert++) {
        const column = chosen.map((row, token) =>
          mask[token] ? (row.includes(expert) ? (logits[token]?.[expert] ?? 0) : 0) : -1e9,
        );
        for (const token of ranked(column).slice(0, places)) {
          const choice = chosen[token]?.indexOf(expert) ?? -1;
          const row = placed[token];
          if (choice >= 0 && row && mask[token]) row[choice] = expert;
        }
      }
      return placed;
    };

  it.each([0.2, 0.5, 0.9])("keeps the largest logits, factor %s", async (capacityFactor) => {
    const router = deepspeedTopKRouter({ ...base, k: 3, capacityFactor });
    await expectRouting(router, context, {
      choose: best,
      place: placeLargest(capacity(capacityFactor, 3)),
      normalized: true,
    });
  });

  it("lets a chosen negative logit lose to tokens that chose another expert", async () => {
    const router = deepspeedTopKRouter({
      ...base,
      hiddenSize: 2,
      numExperts: 2,
      k: 1,
      minCapacity: 1,
    });
    const identity = f64([1, 0, 0, 1], [2, 2]);
    const logits = f64([-1, -2, -1, -2, -2, -1, -2, -1], [4, 2]);
    const routing = router.route({ weight: identity }, {}, logits, { training: true });
    // Two places each; both are taken by the zeros of the other expert's tokens.
    expect(await values(routing.indices)).toEqual([2, 2, 2, 2]);
  });

  it("goes by position where told so", async () => {
    const router = deepspeedTopKRouter({
      ...base,
      k: 3,
      capacityFactor: 0.6,
      dropPolicy: "position",
    });
    await expectRouting(router, context, {
      choose: best,
      place: (chosen) => placeByLoops(chosen, queue(capacity(0.6, 3), false)),
      normalized: true,
    });
  });

  it("has the gradients of its weights, places frozen", async () => {
    const router = deepspeedTopKRouter({ ...base, k: 3, capacityFactor: 0.5 });
    await expectGradients({ weight }, (params) => router.route(params, {}, x, context));
  });
});

describe("bad input of DeepSpeed's routers", () => {
  it.each<[string, object]>([
    ["capacityFactor", { capacityFactor: -1 }],
    ["evalCapacityFactor", { evalCapacityFactor: Number.NaN }],
    ["minCapacity", { minCapacity: 1.5 }],
    ["topK", { k: 9 }],
    ["dropPolicy", { dropPolicy: "random" }],
    ["noisyGatePolicy", { noisyGatePolicy: "RSample" }],
  ])("refuses a bad %s", (name, changed) => {
    const make = (): unknown =>
      deepspeedTopKRouter({ ...base, k: 3, ...changed } as DeepspeedTopKOptions);
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(expect.objectContaining({ key: name }));
  });

  it("needs a key for what chance decides, and numbers of the right shape", () => {
    const route = (options: Partial<DeepspeedTop1Options>, given: RouteContext) => () =>
      deepspeedTop1Router({ ...base, ...options }).route({ weight }, {}, x, given);
    const needsKey = expect.objectContaining({ key: "context.key" });
    expect(route({}, { training: true })).toThrow(needsKey);
    expect(route({}, {})).not.toThrow();
    expect(route({ chanceInEval: true }, {})).toThrow(needsKey);
    expect(route({ noisyGatePolicy: "Jitter" }, { training: true, noise: uniform })).toThrow(
      needsKey,
    );
    expect(route({}, { training: true, noise: drawn(1, [TOKENS, 1]) })).toThrow(ShapeError);
    expect(() => deepspeedTop2Router(base).route({ weight }, {}, x, { training: true })).toThrow(
      needsKey,
    );
  });
});
