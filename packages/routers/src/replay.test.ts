import {
  ConfigError,
  type RouteContext,
  ShapeError,
  type TokenChoice,
  UnsupportedError,
  foldIn,
  mul,
  randomKey,
  sum,
  valueAndGrad,
} from "@moiety/core";
import { describe, expect, it } from "vitest";
import { gumbelNoise } from "./noise.ts";
import {
  type LinearRouter,
  type LinearRouterParams,
  type RoutingRecord,
  deepspeedTop1Router,
  deepspeedTop2Router,
  deepspeedTopKRouter,
  forceBalance,
  gshardRouter,
  linearRouter,
  nllbRouter,
  noisyTopKRouter,
  recordRouting,
  replayRouter,
  sparseMixerRouter,
  stMoeRouter,
  switchRouter,
} from "./index.ts";
import { backend, distance, drawn, redrawn, values } from "./testing/numbers.ts";

const EXPERTS = 4;
const TOKENS = 16;
const WIDTH = 3;
const x = drawn(81, [TOKENS, WIDTH]);
const shape = { hiddenSize: WIDTH, numExperts: EXPERTS };
const mask = backend.tensor(Array.from({ length: TOKENS }, (_, token) => token % 5 !== 4));
const training: RouteContext = {
  training: true,
  key: randomKey(9),
  mask,
  sequences: [0, 7, TOKENS],
};

const capacity = { size: { factor: 0.8 }, per: "batch", order: "random" } as const;
const after = { epsilon: "machine", guard: "max", when: "after" } as const;

const routers: Readonly<Record<string, LinearRouter>> = {
  deepspeedTop1: deepspeedTop1Router({ ...shape, capacityFactor: 0.5, minCapacity: 1 }),
  deepspeedTop2: deepspeedTop2Router({ ...shape, capacityFactor: 0.5, minCapacity: 1 }),
  deepspeedTopK: deepspeedTopKRouter({ ...shape, k: 3, capacityFactor: 0.5, minCapacity: 1 }),
  gshard: gshardRouter({ ...shape, capacityFactor: 0.7 }),
  nllb: nllbRouter({ ...shape, secondExpertPolicy: "random", expertCapacity: 5 }),
  noisyTopK: noisyTopKRouter({ ...shape, numExpertsPerTok: 2 }),
  "random dropping": linearRouter({
    inputSize: WIDTH,
    spec: { experts: EXPERTS, topK: 2, score: "softmax", capacity, renormalize: after },
    noise: gumbelNoise(),
    jitter: 0.1,
  }),
  sparseMixer: sparseMixerRouter({
    hiddenSize: WIDTH,
    numLocalExperts: EXPERTS,
    routerJitterNoise: 1,
  }),
  stMoe: stMoeRouter({ ...shape, capacityFactorTrain: 0.5 }),
  switch: switchRouter({ ...shape, expertCapacity: 2 }),
};

const paramsOf = (router: LinearRouter): LinearRouterParams =>
  redrawn(router.init(randomKey(1), { backend, dtype: "f64" }).params, 82);

async function expectEqual(found: TokenChoice, wanted: TokenChoice): Promise<void> {
  for (const key of ["selected", "indices", "outputWeights", "scores", "logits"] as const) {
    expect(await values(found[key]), key).toEqual(await values(wanted[key]));
  }
}

describe("replayRouter", () => {
  it.each(Object.entries(routers))("plays %s back, over JSON", async (_, router) => {
    const params = paramsOf(router);
    const routing = router.route(params, {}, x, training);
    const record = await recordRouting(routing);
    const read = JSON.parse(JSON.stringify(record)) as RoutingRecord;
    expect(read).toEqual(record);
    const replay = replayRouter(router, read);
    await expectEqual(replay.route(params, {}, x, training), routing);
    expect(await recordRouting(replay.route(params, {}, x, training))).toEqual(record);
  });

  it.each(Object.entries(routers))(
    "keeps the choices of %s under other parameters",
    async (_, router) => {
      const record = await recordRouting(router.route(paramsOf(router), {}, x, training));
      const other = redrawn(paramsOf(router), 90);
      const own = await recordRouting(router.route(other, {}, x, training));
      expect(own.selected).not.toEqual(record.selected);
      const context = { ...training, key: foldIn(randomKey(9), 1) };
      const replayed = replayRouter(router, record).route(other, {}, x, context);
      expect(await recordRouting(replayed)).toEqual(record);
      // Weights are those of the new parameters, at the recorded places.
      const weights = await values(replayed.outputWeights);
      for (const [place, expert] of record.placed.entries()) {
        if (expert === EXPERTS) expect(weights[place]).toBe(0);
        else expect(weights[place]).toBeGreaterThan(0);
      }
    },
  );

  it("has the gradients of the recorded run", async () => {
    const router = gshardRouter({ ...shape, capacityFactor: 0.7 });
    const { weight } = paramsOf(router);
    const upstream = drawn(83, [TOKENS, 2]);
    const slopes = async (own: Pick<LinearRouter, "route">): Promise<number[]> => {
      const { grads } = valueAndGrad((params: { weight: typeof weight }) =>
        sum(mul(own.route(params, {}, x, training).outputWeights, upstream)),
      )({ weight });
      return values(grads.weight);
    };
    const record = await recordRouting(router.route({ weight }, {}, x, training));
    const found = await slopes(replayRouter(router, record));
    expect(distance(found, await slopes(router))).toBe(0);
    expect(found.some((slope) => slope !== 0)).toBe(true);
  });

  it("plays a forced routing back around another router", async () => {
    const router = linearRouter({
      inputSize: WIDTH,
      spec: { experts: EXPERTS, topK: 2, score: "softmax" },
    });
    const params = paramsOf(router);
    const forced = forceBalance(router).route(params, {}, x);
    await expectEqual(
      replayRouter(router, await recordRouting(forced)).route(params, {}, x),
      forced,
    );
  });
});

describe("bad records", () => {
  const router = linearRouter({
    inputSize: WIDTH,
    spec: { experts: 3, topK: 2, score: "softmax" },
  });
  const good: RoutingRecord = {
    version: 1,
    experts: 3,
    tokens: 2,
    topK: 2,
    selected: [0, 1, 2, 3],
    placed: [0, 3, 2, 3],
  };

  it.each<[string, object]>([
    ["record.version", { version: 2 }],
    ["record.tokens", { tokens: -1 }],
    ["record.experts", { experts: 4, selected: [0, 1, 2, 3], placed: [0, 4, 2, 3] }],
    ["record.experts", { topK: 1, selected: [0, 1], placed: [0, 1] }],
    ["record.selected", { selected: [0, 1, 2] }],
    ["record.placed", { placed: "all" }],
    ["record.selected[2]", { selected: [0, 1, 4, 3] }],
    ["record.placed[0]", { placed: [0.5, 3, 2, 3] }],
    ["record.placed[3]", { placed: [0, 3, 2, 1] }],
    ["record.selected[0…]", { selected: [1, 1, 2, 3] }],
  ])("are refused by name: %s", (key, changed) => {
    const make = (): unknown => replayRouter(router, { ...good, ...changed } as RoutingRecord);
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(expect.objectContaining({ key }));
  });

  it("are refused for another number of tokens, and of routings that are no choices", async () => {
    const replay = replayRouter(router, good);
    const params = { weight: drawn(84, [3, WIDTH]) };
    expect(() => replay.route(params, {}, drawn(85, [3, WIDTH]))).toThrow(ShapeError);
    const routing = router.route(params, {}, drawn(85, [2, WIDTH]));
    await expect(recordRouting({ ...routing, kind: "soft" } as never)).rejects.toThrow(
      UnsupportedError,
    );
  });
});
