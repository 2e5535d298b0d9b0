import { ConfigError, type RouteContext } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { type NllbOptions, nllbRouter } from "./index.ts";
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
import { placeByLoops, shared, survivors } from "./testing/places.ts";

const EXPERTS = 4;
const TOKENS = 15;
const WIDTH = 3;
const base: NllbOptions = { hiddenSize: WIDTH, numExperts: EXPERTS };
const x = drawn(21, [TOKENS, WIDTH]);
const weight = drawn(22, [EXPERTS, WIDTH]);
const mask = Array.from({ length: TOKENS }, (_, token) => token !== 4 && token !== 14);
const chances = draws(23, TOKENS * 2).map((value) => Math.abs(value) % 1);
const gumbels = drawn(24, [TOKENS, EXPERTS]);

/** `route_tokens` of `NllbMoeTop2Router`, by plain loops. */
async function reference(
  logits: readonly (readonly number[])[],
  options: NllbOptions,
  training: boolean,
): Promise<{ indices: number[]; weights: number[] }> {
  const scores = logits.map(softmaxOf);
  const policy = training ? options.secondExpertPolicy : "all";
  const noise = await rowsOf(gumbels);
  const two = logits.map((row, token) => {
    const first = ranked(scores[token] ?? [])[0] ?? 0;
    const others = row.map((logit, expert) =>
      expert === first
        ? Number.NEGATIVE_INFINITY
        : logit + (policy === "sampling" ? (noise[token]?.[expert] ?? 0) : 0),
    );
    return [first, ranked(others)[0] ?? 0];
  });
  const raw = two.map((row, token) => row.map((id) => scores[token]?.[id] ?? 0));
  const before = options.normalizeRouterProbBeforeDropping ? shared(raw) : raw;
  let weights = before;
  let chosen = two;
  if (policy === "random") {
    weights = before.map(([first = 0], token) => [first, raw[token]?.[1] ?? 0]);
    chosen = two.map(([first = 0, second = 0], token) => {
      const kept = 2 * (raw[token]?.[1] ?? 0) > (chances[2 * token + 1] ?? 0);
      return [first, kept ? second : EXPERTS];
    });
  }
  const { expertCapacity = 64, moeEvalCapacityTokenFraction: fraction = 1 } = options;
  const placed = placeByLoops(chosen, {
    experts: EXPERTS,
    places: (tokens) =>
      !training && fraction > 0
        ? Math.ceil(fraction * tokens)
        : (expertCapacity ?? 2 * Math.ceil(tokens / EXPERTS)),
    groups: [0, TOKENS],
    choiceFirst: true,
    rank: options.batchPrioritizedRouting
      ? (token) => Math.max(...(scores[token] ?? []))
      : undefined,
    mask,
  });
  const kept = survivors(weights, placed, EXPERTS);
  return {
    indices: placed.flat(),
    weights: (options.normalizeRouterProbBeforeDropping ? kept : shared(kept)).flat(),
  };
}

const settings: [Partial<NllbOptions>, boolean][] = [false, true].flatMap((before) =>
  [false, true].flatMap((prioritized) =>
    (["all", "random", "sampling"] as const).flatMap((policy) =>
      [true, false].map((training): [Partial<NllbOptions>, boolean] => [
        {
          normalizeRouterProbBeforeDropping: before,
          batchPrioritizedRouting: prioritized,
          secondExpertPolicy: policy,
          expertCapacity: 5,
          moeEvalCapacityTokenFraction: prioritized ? 0.25 : -1,
        },
        training,
      ]),
    ),
  ),
);

describe("nllbRouter", () => {
  it.each(settings)("routes as its source: %j, training %s", async (changed, training) => {
    const options = { ...base, ...changed };
    const noise = {
      all: undefined,
      random: f64(chances, [TOKENS, 2]),
      sampling: gumbels,
    }[changed.secondExpertPolicy ?? "all"];
    const context: RouteContext = {
      training,
      mask: backend.tensor(mask),
      // Capacity counts over the whole batch, wherever sequences end.
      sequences: [0, 6, TOKENS],
      noise: training ? noise : undefined,
    };
    const routing = nllbRouter(options).route({ weight }, {}, x, context);
    const wanted = await reference(await rowsOf(routing.logits), options, training);
    expect(await values(routing.indices)).toEqual(wanted.indices);
    expect(distance(await values(routing.outputWeights), wanted.weights)).toBeLessThan(1e-14);
    expect(wanted.indices.filter((id) => id === EXPERTS).length).toBeGreaterThan(4);
  });

  it("takes 2 · ⌈T / E⌉ places where the capacity is null", async () => {
    const options = { ...base, expertCapacity: null, moeEvalCapacityTokenFraction: 0 };
    const routing = nllbRouter(options).route({ weight }, {}, x, { mask: backend.tensor(mask) });
    const wanted = await reference(await rowsOf(routing.logits), options, false);
    expect(await values(routing.indices)).toEqual(wanted.indices);
  });

  it.each([true, false])("has the gradients of its weights, before %s", async (before) => {
    const router = nllbRouter({
      ...base,
      normalizeRouterProbBeforeDropping: before,
      secondExpertPolicy: "random",
      expertCapacity: 5,
      routerBias: true,
    });
    const params = { weight, bias: drawn(25, [EXPERTS]) };
    await expectGradients(params, (own) =>
      router.route(own, {}, x, { training: true, noise: f64(chances, [TOKENS, 2]) }),
    );
  });

  it("draws in evaluation only where it is told to", () => {
    const options = { ...base, secondExpertPolicy: "random" } as const;
    expect(() => nllbRouter(options).route({ weight }, {}, x)).not.toThrow();
    const drawing = nllbRouter({ ...options, chanceInEval: true });
    expect(() => drawing.route({ weight }, {}, x)).toThrow(
      expect.objectContaining({ key: "context.key" }),
    );
  });

  it.each<[string, object]>([
    ["expertCapacity", { expertCapacity: 0 }],
    ["expertCapacity", { expertCapacity: 1.5 }],
    ["moeEvalCapacityTokenFraction", { moeEvalCapacityTokenFraction: Number.NaN }],
    ["secondExpertPolicy", { secondExpertPolicy: "some" }],
    ["topK", { numExperts: 1 }],
  ])("refuses a bad %s", (name, changed) => {
    const make = (): unknown => nllbRouter({ ...base, ...changed } as NllbOptions);
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(expect.objectContaining({ key: name }));
  });
});
