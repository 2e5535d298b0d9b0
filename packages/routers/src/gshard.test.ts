import { ConfigError, type RouteContext, type Tensor, randomKey } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { type GshardOptions, gshardRouter } from "./index.ts";
import {
  backend,
  distance,
  drawn,
  draws,
  expectGradients,
  f64,
  identity,
  ranked,
  rowsOf,
  softmaxOf,
  values,
} from "./testing/numbers.ts";
import { placeByLoops, shared, survivors } from "./testing/places.ts";

const EXPERTS = 5;
const TOKENS = 14;
const WIDTH = 4;
const base: GshardOptions = { hiddenSize: WIDTH, numExperts: EXPERTS };
const x = drawn(1, [TOKENS, WIDTH]);
const weight = drawn(2, [EXPERTS, WIDTH]);
const sequences = [0, 9, TOKENS];
const mask = Array.from({ length: TOKENS }, (_, token) => token !== 3 && token < 12);
const chances = draws(7, TOKENS * 2).map((value) => Math.abs(value) % 1);

/** Algorithm 1 of the paper, by plain loops. */
async function reference(
  logits: Tensor,
  {
    threshold = 0.5,
    capacityFactor = 1,
    uniform,
    gumbels,
    sampling = false,
  }: {
    readonly threshold?: number;
    readonly capacityFactor?: number;
    readonly uniform?: readonly number[] | undefined;
    readonly gumbels?: readonly (readonly number[])[];
    readonly sampling?: boolean;
  },
): Promise<{ indices: number[]; selected: number[]; weights: number[] }> {
  const rows = await rowsOf(logits);
  const scores = rows.map(softmaxOf);
  const two = rows.map((row, token) => {
    const first = ranked(scores[token] ?? [])[0] ?? 0;
    const noisy = row.map((logit, expert) =>
      expert === first
        ? Number.NEGATIVE_INFINITY
        : logit + (sampling ? (gumbels?.[token]?.[expert] ?? 0) : 0),
    );
    return [first, ranked(noisy)[0] ?? 0];
  });
  const weights = shared(two.map((row, token) => row.map((id) => scores[token]?.[id] ?? 0)));
  const selected = two.map(([first = 0, second = 0], token) => {
    const kept = !uniform || (uniform[2 * token + 1] ?? 0) < (weights[token]?.[1] ?? 0) / threshold;
    return [first, kept ? second : EXPERTS];
  });
  const placed = placeByLoops(selected, {
    experts: EXPERTS,
    places: (tokens) => Math.ceil((tokens * 2 * capacityFactor) / EXPERTS),
    groups: sequences,
    choiceFirst: true,
    mask,
  });
  return {
    selected: selected.flat(),
    indices: placed.flat(),
    weights: survivors(weights, placed, EXPERTS).flat(),
  };
}

const context: RouteContext = { sequences, mask: backend.tensor(mask) };

describe("gshardRouter", () => {
  it.each([
    ["random", 0.5, 1],
    ["random", 0.2, 0.6],
    ["all", 0.5, 0.6],
    ["sampling", 0.5, 1],
  ] as const)("is algorithm 1 with policy %s, threshold %s, factor %s", async (...setting) => {
    const [secondExpertPolicy, threshold, capacityFactor] = setting;
    const router = gshardRouter({ ...base, secondExpertPolicy, threshold, capacityFactor });
    expect(router.acrossTokens).toBe(true);
    const gumbels = drawn(9, [TOKENS, EXPERTS]);
    const noise = {
      random: f64(chances, [TOKENS, 2]),
      sampling: gumbels,
      all: undefined,
    }[secondExpertPolicy];
    const routing = router.route({ weight }, {}, x, { ...context, training: true, noise });
    const wanted = await reference(routing.logits, {
      threshold,
      capacityFactor,
      uniform: secondExpertPolicy === "random" ? chances : undefined,
      gumbels: await rowsOf(gumbels),
      sampling: secondExpertPolicy === "sampling",
    });
    expect(await values(routing.selected)).toEqual(wanted.selected);
    expect(await values(routing.indices)).toEqual(wanted.indices);
    expect(distance(await values(routing.outputWeights), wanted.weights)).toBeLessThan(1e-14);
    // The case is of use only if something is dropped, by chance or for want of places.
    expect(wanted.indices.filter((id) => id === EXPERTS).length).toBeGreaterThan(4);
  });

  it("takes the second best in evaluation, without a key", async () => {
    const routing = gshardRouter(base).route({ weight }, {}, x, context);
    const wanted = await reference(routing.logits, {});
    expect(await values(routing.indices)).toEqual(wanted.indices);
    expect(distance(await values(routing.outputWeights), wanted.weights)).toBeLessThan(1e-14);
  });

  it("keeps the second expert with probability min(1, g₂ / threshold)", async () => {
    const tokens = 6000;
    const router = gshardRouter({ ...base, hiddenSize: EXPERTS, capacityFactor: EXPERTS });
    const row = [2, 1, -3, -3, -3];
    const many = f64(Array.from({ length: tokens }, () => row).flat(), [tokens, EXPERTS]);
    const chosen = await rowsOf(
      router.route({ weight: identity(EXPERTS) }, {}, many, { training: true, key: randomKey(1) })
        .indices,
    );
    const chance = 2 / (1 + Math.E);
    const found = chosen.filter(([, second]) => second === 1).length / tokens;
    expect(Math.abs(found - chance)).toBeLessThan(5 * Math.sqrt((chance * (1 - chance)) / tokens));
    expect(chosen.every(([first]) => first === 0)).toBe(true);
  });

  it("has the gradients of its weights, chance and places frozen", async () => {
    const router = gshardRouter({ ...base, capacityFactor: 0.8 });
    await expectGradients({ weight }, (params) =>
      router.route(params, {}, x, {
        ...context,
        training: true,
        noise: f64(chances, [TOKENS, 2]),
      }),
    );
  });

  it("says what it needs and what it does not know", () => {
    const route = (options: Partial<GshardOptions>, given: RouteContext) => () =>
      gshardRouter({ ...base, ...options }).route({ weight }, {}, x, given);
    const needsKey = expect.objectContaining({ key: "context.key" });
    expect(route({}, { training: true })).toThrow(needsKey);
    expect(route({ secondExpertPolicy: "sampling" }, { training: true })).toThrow(needsKey);
    expect(route({ secondExpertPolicyEval: "random" }, {})).toThrow(needsKey);
    for (const [name, options] of [
      ["threshold", { threshold: 0 }],
      ["threshold", { threshold: Number.NaN }],
      ["secondExpertPolicy", { secondExpertPolicy: "none" }],
      ["topK", { numExperts: 1 }],
      ["capacity.size.factor", { capacityFactor: -1 }],
    ] as const) {
      const make = (): unknown => gshardRouter({ ...base, ...options } as GshardOptions);
      expect(make).toThrow(ConfigError);
      expect(make).toThrow(expect.objectContaining({ key: name }));
    }
  });
});
