import { ConfigError, type Tensor, randomKey } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  applyHeterogeneousCapacity,
  heterogeneousPlaces,
  linearRouter,
  moePlusPlusRouter,
  zeroAwareWeights,
} from "./index.ts";
import {
  backend,
  distance,
  drawn,
  expectGradients,
  f64,
  i32,
  ranked,
  redrawn,
  rowsOf,
  rowsOfRouting,
  softmaxOf,
  times,
  values,
} from "./testing/numbers.ts";

const WIDTH = 3;
const EXPERTS = 5;
const TOKENS = 4;
const x = drawn(1, [TOKENS, WIDTH]);
const key = randomKey(9);
const f64Init = { backend, dtype: "f64" } as const;
const weight = drawn(3, [EXPERTS, WIDTH]);

describe("zeroAwareWeights", () => {
  const spec = { experts: EXPERTS, topK: 3, score: "softmax", renormalize: {} } as const;
  const router = linearRouter({
    inputSize: WIDTH,
    spec,
    stages: { weight: zeroAwareWeights({ first: 1, count: 2 }, EXPERTS) },
  });

  it("takes zero experts out, and lets the others share 1", async () => {
    const routing = router.route({ weight }, {}, x);
    const { indices, weights } = await rowsOfRouting(routing);
    const scores = await rowsOf(routing.scores);
    let zeros = 0;
    for (const [token, row] of indices.entries()) {
      const raw = row.map((expert) =>
        expert === 1 || expert === 2 ? 0 : (scores[token]?.[expert] as number),
      );
      zeros += raw.filter((value) => value === 0).length;
      const total = raw.reduce((a, b) => a + b);
      const wanted = raw.map((value) => value / total);
      expect(distance(weights[token] ?? [], wanted)).toBeLessThan(1e-12);
    }
    expect(zeros).toBeGreaterThan(0);
    await expectGradients({ weight }, (params) => router.route(params, {}, x));
  });

  it("gives weights 0, not NaN, where only zero experts were chosen", async () => {
    const single = linearRouter({
      inputSize: 1,
      spec: { ...spec, experts: 2, topK: 1 },
      stages: { weight: zeroAwareWeights({ first: 1, count: 1 }, 2) },
    });
    const own = { weight: f64([0, 1], [2, 1]) };
    const input = f64([1, -1], [2, 1]);
    expect(await values(single.route(own, {}, input).outputWeights)).toEqual([0, 1]);
    expect(() => zeroAwareWeights({ first: 4, count: 2 }, 5)).toThrow(ConfigError);
  });
});

describe("moePlusPlusRouter", () => {
  const options = { hiddenSize: WIDTH, numExperts: 6, first: true };

  it("renormalises without the zero expert, and multiplies the experts' input by k", async () => {
    const router = moePlusPlusRouter(options);
    const params = redrawn(router.init(key, f64Init).params, 3);
    const many = drawn(4, [40, WIDTH]);
    const routing = router.route(params, {}, many);
    const indices = await rowsOf(routing.indices);
    const weights = await rowsOf(routing.outputWeights);
    expect(indices.flat()).toContain(5);
    for (const [token, row] of indices.entries()) {
      const own = weights[token] ?? [];
      expect(own.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
      for (const [choice, expert] of row.entries()) if (expert === 5) expect(own[choice]).toBe(0);
    }
    expect(await values(routing.inputWeights)).toEqual(new Array(80).fill(2));
    expect(routing.carry?.["logits"]).toBeDefined();
    const plain = moePlusPlusRouter({ ...options, moeFeatureNoMulTopk: true });
    expect(plain.route(params, {}, many).inputWeights).toBeUndefined();
  });

  it("norms logits and weighs like Mixtral where told to", async () => {
    const router = moePlusPlusRouter({
      ...options,
      moe2layerGate: false,
      moeUseMixtralGating: true,
      moeUseLogitsNorm: true,
      moeGateNormStd: 2,
    });
    const own = { weight: drawn(3, [6, WIDTH]) };
    const routing = router.route(own, {}, x);
    const logits = times(await rowsOf(x), await rowsOf(own.weight)).map((row) => {
      const mean = row.reduce((a, b) => a + b) / 6;
      const deviation = Math.sqrt(row.reduce((a, b) => a + (b - mean) ** 2, 0) / 5);
      return row.map((value) => (value / deviation) * 2);
    });
    expect(distance(await values(routing.logits), logits.flat())).toBeLessThan(1e-11);
    const wanted = logits.flatMap((row) =>
      softmaxOf(
        ranked(row)
          .slice(0, 2)
          .map((expert) => row[expert] as number),
      ),
    );
    expect(distance(await values(routing.outputWeights), wanted)).toBeLessThan(1e-11);
  });

  it("has gradients, also of its map of earlier logits", async () => {
    const router = moePlusPlusRouter({
      hiddenSize: 2,
      numExperts: 4,
      moe2layerGate: false,
      moeUseLogitsNorm: true,
    });
    const params = redrawn(router.init(key, f64Init).params, 6);
    const previous = { logits: drawn(8, [TOKENS, 4]) };
    const input = drawn(9, [TOKENS, 2]);
    await expectGradients(params, (own) => router.route(own, {}, input, { previous }));
  });

  it("keeps to its capacity in training only", async () => {
    const router = moePlusPlusRouter({ ...options, capacity: { factor: 1, ratio: 0.5 } });
    expect(router.acrossTokens).toBe(true);
    const { params } = router.init(key, f64Init);
    const same = f64(
      Array.from({ length: 12 * WIDTH }, (_, at) => (at % WIDTH) + 1),
      [12, WIDTH],
    );
    const places = heterogeneousPlaces({ factor: 1, ratio: 0.5, firstZeroComputation: 2 }, 24, 6);
    expect(places).toEqual([3, 3, 5, 5, 5, 5]);
    const training = router.route(params, {}, same, { training: true });
    const [chosen = []] = await rowsOf(training.selected);
    const kept = await values(training.indices);
    for (const expert of chosen) {
      expect(kept.filter((other) => other === expert).length).toBe(places[expert]);
    }
    const evaluation = router.route(params, {}, same);
    expect(await values(evaluation.indices)).toEqual(await values(evaluation.selected));
  });
});

describe("heterogeneous capacity", () => {
  it("never exceeds its places, keeps the first, and leaves padding out", async () => {
    const property = fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.boolean()), {
        minLength: 1,
        maxLength: 30,
      }),
      fc.double({ min: 0, max: 2, noNaN: true }),
      async (tokens, factor) => {
        const capacity = { factor, ratio: 0.75, firstZeroComputation: 2 };
        const experts = 3;
        const indices = i32(...tokens.map(([expert]) => expert)).reshape([tokens.length, 1]);
        const blank = backend.tensor(new Float32Array(tokens.length * experts), {
          shape: [tokens.length, experts],
        });
        const mask = backend.tensor(tokens.map(([, live]) => live));
        const assigned = { indices, logits: blank, scores: blank, weights: blank as Tensor };
        const found = await values(applyHeterogeneousCapacity(capacity, assigned, { mask }));
        const places = heterogeneousPlaces(capacity, tokens.length, experts);
        const wanted = tokens.map(([expert, live]) => {
          if (!live || expert === experts || places[expert] === 0) return experts;
          places[expert] = (places[expert] as number) - 1;
          return expert;
        });
        expect(found).toEqual(wanted);
      },
    );
    await fc.assert(property, { numRuns: 40 });
  });
});

describe("bad options of MoE++", () => {
  it.each<[string, () => unknown]>([
    ["constantExperts", () => moePlusPlusRouter({ hiddenSize: 2, numExperts: 3 })],
    [
      "moeGateNormStd",
      () =>
        moePlusPlusRouter({
          hiddenSize: 2,
          numExperts: 6,
          moeUseLogitsNorm: true,
          moeGateNormStd: 0,
        }),
    ],
    [
      "ratio",
      () => moePlusPlusRouter({ hiddenSize: 2, numExperts: 6, capacity: { factor: 1, ratio: 0 } }),
    ],
    [
      "factor",
      () => moePlusPlusRouter({ hiddenSize: 2, numExperts: 6, capacity: { factor: -1, ratio: 1 } }),
    ],
  ])("%s", (name, make) => {
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(expect.objectContaining({ key: name }));
  });
});
