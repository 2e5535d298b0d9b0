import {
  ConfigError,
  type RouteSpec,
  type TokenChoice,
  hostNormal,
  loadOf,
  randomKey,
} from "@moiety/core";
import { describe, expect, it } from "vitest";
import {
  type LinearRouter,
  deepseekV3Router,
  deepseekV3Spec,
  linearRouter,
  mixtralRouter,
  mixtralSpec,
  noisyTopKRouter,
  noisyTopKSpec,
  qwenMoeRouter,
  qwenMoeSpec,
  switchRouter,
  switchSpec,
} from "./index.ts";
import { backend, distance, f64, identity, softmaxOf, values } from "./testing/numbers.ts";

/** Routes given logits: the input is the logits, the weight the identity. */
function routeLogits(
  router: LinearRouter,
  logits: readonly (readonly number[])[],
  selectionBias?: readonly number[] | false,
  sequences?: readonly number[],
): TokenChoice {
  const { experts } = router;
  const state = selectionBias ? { selectionBias: f64(selectionBias, [experts]) } : {};
  const params = { weight: identity(experts) };
  return router.route(params, state, f64(logits.flat(), [logits.length, experts]), { sequences });
}

const sigmoid = (value: number): number => 1 / (1 + Math.exp(-value));

describe("mixtralRouter", () => {
  it("is a softmax over the chosen logits", async () => {
    const router = mixtralRouter({ hiddenSize: 4, numLocalExperts: 4, numExpertsPerTok: 2 });
    expect(router.acrossTokens).toBe(false);
    const routing = routeLogits(router, [
      [0.1, 2, -1, 1.5],
      [3, 1, 3, 1],
    ]);
    expect(await values(routing.indices)).toEqual([1, 3, 0, 2]);
    expect(
      distance(await values(routing.outputWeights), [...softmaxOf([2, 1.5]), 0.5, 0.5]),
    ).toBeLessThan(1e-12);
  });
});

describe("qwenMoeRouter", () => {
  it("leaves probabilities as they are unless normTopkProb", async () => {
    const sizes = { hiddenSize: 3, numExperts: 3, numExpertsPerTok: 2 };
    const p = softmaxOf([1, 0, 2]);
    const plain = routeLogits(qwenMoeRouter(sizes), [[1, 0, 2]]);
    expect(
      distance(await values(plain.outputWeights), [p[2] as number, p[0] as number]),
    ).toBeLessThan(1e-12);
    const normalized = routeLogits(qwenMoeRouter({ ...sizes, normTopkProb: true }), [[1, 0, 2]]);
    expect(distance(await values(normalized.outputWeights), softmaxOf([2, 1]))).toBeLessThan(1e-12);
  });
});

describe("switchRouter", () => {
  it("keeps the first tokens of each sequence, weighted by their probability", async () => {
    const router = switchRouter({
      hiddenSize: 2,
      numExperts: 2,
      expertCapacity: 1,
      routerJitterNoise: 0,
    });
    expect(router.acrossTokens).toBe(true);
    const logits = [
      [1, 0],
      [2, 0],
      [0, 1],
      [3, 0],
    ];
    const routing = routeLogits(router, logits, undefined, [0, 3, 4]);
    expect(await values(routing.indices)).toEqual([0, 2, 1, 0]);
    expect(await values(routing.selected)).toEqual([0, 0, 1, 0]);
    expect(
      distance(await values(routing.outputWeights), [sigmoid(1), 0, sigmoid(1), sigmoid(3)]),
    ).toBeLessThan(1e-12);
    expect(await values(loadOf(routing))).toEqual([3, 1]);
  });

  it("has a bias of its logits, and jitter that needs a key", () => {
    const router = switchRouter({ hiddenSize: 2, numExperts: 2, routerBias: true });
    const { params, state } = router.init(randomKey(0), { backend });
    expect(params.bias?.shape).toEqual([2]);
    const x = backend.tensor([1, 2], { shape: [1, 2] });
    expect(() => router.route(params, state, x, { training: true })).toThrow(/context\.key/);
    expect(router.spec.capacity?.size).toEqual({ absolute: 64 });
  });
});

describe("deepseekV3Router", () => {
  const sizes = { hiddenSize: 4, nRoutedExperts: 4, numExpertsPerTok: 2 };

  it("selects by biased scores within the best groups and weighs by plain ones", async () => {
    const router = deepseekV3Router({ ...sizes, nGroup: 2, topkGroup: 1 });
    const logits = [0.5, 0.4, 2, -3];
    const scores = logits.map(sigmoid);
    // Σ of the two best biased scores: group 0 has 1.22, group 1 has .93, and 1.53 with the bias.
    const weigh = (a: number, b: number): number[] => {
      const total = (scores[a] as number) + (scores[b] as number) + 1e-20;
      return [(2.5 * (scores[a] as number)) / total, (2.5 * (scores[b] as number)) / total];
    };
    const plain = routeLogits(router, [logits], [0, 0, 0, 0]);
    expect(await values(plain.indices)).toEqual([0, 1]);
    expect(distance(await values(plain.outputWeights), weigh(0, 1))).toBeLessThan(1e-12);
    const biased = routeLogits(router, [logits], [0, 0, 0, 0.6]);
    expect(await values(biased.indices)).toEqual([2, 3]);
    expect(distance(await values(biased.outputWeights), weigh(2, 3))).toBeLessThan(1e-12);
  });

  it("fills closed groups as the version says", async () => {
    const options = { ...sizes, nGroup: 2, topkGroup: 1 };
    const logits = [[2, 1, 0, 0]];
    const bias = [0, -2, -1, -2];
    const chosen = async (router: LinearRouter): Promise<number[]> =>
      values(routeLogits(router, logits, bias).indices);
    expect(await chosen(deepseekV3Router(options))).toEqual([0, 1]);
    expect(await chosen(deepseekV3Router({ ...options, groupFill: "zero" }))).toEqual([0, 2]);
  });

  it("renormalises also for one expert, scales always", async () => {
    const one = { ...sizes, numExpertsPerTok: 1, nGroup: 1 };
    const zero = [0, 0, 0, 0];
    const normalized = routeLogits(deepseekV3Router(one), [[1, 2, 3, 4]], zero);
    expect(distance(await values(normalized.outputWeights), [2.5])).toBeLessThan(1e-12);
    const plain = deepseekV3Router({ ...one, normTopkProb: false, routedScalingFactor: 2 });
    expect(
      distance(await values(routeLogits(plain, [[1, 2, 3, 4]], zero).outputWeights), [
        2 * sigmoid(4),
      ]),
    ).toBeLessThan(1e-12);
  });

  it("checks its groups, also where all are open", () => {
    expect(() => deepseekV3Router({ ...sizes, nGroup: 3, topkGroup: 3 })).toThrow(/groups\.count/);
    expect(() => deepseekV3Router({ ...sizes, nGroup: 1, topkGroup: 2 })).toThrow(/groups\.topK/);
    expect(() => deepseekV3Router(sizes)).toThrow(/groups\.count is 8/);
    const large = deepseekV3Spec({ nRoutedExperts: 256, numExpertsPerTok: 8 });
    expect(large.groups).toEqual({ count: 8, topK: 4, score: { top: 2 }, fill: "mask" });
  });
});

describe("noisyTopKRouter", () => {
  it("is a softmax over the k best logits, and starts from zeros", async () => {
    const router = noisyTopKRouter({ hiddenSize: 3, numExperts: 3, numExpertsPerTok: 2 });
    const { params } = router.init(randomKey(1), { backend });
    expect(await values(params.weight)).toEqual(new Array(9).fill(0));
    const own = noisyTopKRouter({
      hiddenSize: 3,
      numExperts: 3,
      numExpertsPerTok: 2,
      initializerRange: 1,
    });
    const drawn = Array.from(hostNormal(randomKey(1), 9), Math.fround);
    expect(await values(own.init(randomKey(1), { backend }).params.weight)).toEqual(drawn);
    const x = f64([1, 2, 3], [1, 3]);
    const weight = f64([1, 0, 0, 0, 1, 0, 0, 0, 1], [3, 3]);
    const noise = f64(new Array(9).fill(0), [3, 3]);
    const routing = router.route({ weight, noise }, {}, x);
    expect(await values(routing.indices)).toEqual([2, 1]);
    expect(distance(await values(routing.outputWeights), softmaxOf([3, 2]))).toBeLessThan(1e-12);
  });
});

describe("every preset", () => {
  it("is plain data: a router of its JSON routes alike", async () => {
    const specs = [
      switchSpec({ numExperts: 8, expertCapacity: 1 }),
      mixtralSpec({ numLocalExperts: 8, numExpertsPerTok: 2 }),
      qwenMoeSpec({ numExperts: 8, numExpertsPerTok: 2, normTopkProb: true }),
      deepseekV3Spec({ nRoutedExperts: 8, numExpertsPerTok: 2, nGroup: 4, topkGroup: 2 }),
      noisyTopKSpec({ numExperts: 8, numExpertsPerTok: 2 }),
    ];
    const draws = [...hostNormal(randomKey(4), 4 * 8)];
    const logits = [0, 1, 2, 3].map((token) => draws.slice(token * 8, token * 8 + 8));
    for (const spec of specs) {
      const copy = JSON.parse(JSON.stringify(spec)) as RouteSpec;
      const [first, second] = [spec, copy].map((own) =>
        routeLogits(
          linearRouter({ inputSize: 8, spec: own }),
          logits,
          own.bias && draws.slice(0, 8),
        ),
      );
      expect(await values(first?.indices)).toEqual(await values(second?.indices));
      expect(await values(first?.outputWeights)).toEqual(await values(second?.outputWeights));
      expect(Object.values(spec).some((value) => typeof value === "function")).toBe(false);
    }
  });

  it("refuses sizes that make no sense", () => {
    expect(() => switchRouter({ hiddenSize: 0, numExperts: 2 })).toThrow(ConfigError);
    expect(() => switchRouter({ hiddenSize: 2, numExperts: 2, expertCapacity: -1 })).toThrow(
      ConfigError,
    );
    const many = { hiddenSize: 2, numExpertsPerTok: 3 };
    expect(() => mixtralRouter({ ...many, numLocalExperts: 2 })).toThrow(/topK/);
    expect(() => qwenMoeRouter({ ...many, numExperts: 2 })).toThrow(/topK/);
    expect(() => noisyTopKRouter({ ...many, numExperts: 2 })).toThrow(/topK/);
  });
});
