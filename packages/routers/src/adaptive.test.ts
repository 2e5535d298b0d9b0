import {
  ConfigError,
  type Rows,
  type Tensor,
  type TokenChoice,
  add,
  cast,
  gather,
  loadOf,
  mixExperts,
  mul,
  randomKey,
} from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  applyHeterogeneousCapacity,
  heterogeneousPlaces,
  linearRouter,
  moePlusPlusRouter,
  recordRouting,
  reluRouter,
  replayRouter,
  topPRouter,
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
const sizes = { hiddenSize: WIDTH, numExperts: EXPERTS };
const weight = drawn(3, [EXPERTS, WIDTH]);

/** Row by row, what a routing chose, what ran, and with what weights. */
async function rowsOfRouting(routing: TokenChoice): Promise<{
  selected: number[][];
  indices: number[][];
  weights: number[][];
}> {
  return {
    selected: await rowsOf(routing.selected),
    indices: await rowsOf(routing.indices),
    weights: await rowsOf(routing.outputWeights),
  };
}

const padded = (list: readonly number[], count: number, filler: number): number[] =>
  [...list, ...new Array<number>(count).fill(filler)].slice(0, count);

describe("topPRouter", () => {
  it("takes the fewest experts whose probabilities reach p", async () => {
    const property = fc.asyncProperty(
      fc.nat(),
      fc.double({ min: 0.05, max: 0.99, noNaN: true }),
      fc.integer({ min: 1, max: EXPERTS }),
      async (seed, topP, maxActive) => {
        const own = drawn(seed, [EXPERTS, WIDTH]);
        const router = topPRouter({ ...sizes, topP, maxActive });
        const routing = router.route({ weight: own }, {}, x);
        expect(routing).toMatchObject({ maxActive });
        expect(routing.indices.shape).toEqual([TOKENS, maxActive]);
        expect(routing.selected.shape).toEqual([TOKENS, EXPERTS]);
        const { selected, indices, weights } = await rowsOfRouting(routing);
        for (const [token, logits] of times(await rowsOf(x), await rowsOf(own)).entries()) {
          const probabilities = softmaxOf(logits);
          const order = ranked(probabilities);
          let total = 0;
          const active = order.filter((expert) => {
            const needed = total < topP;
            total += probabilities[expert] as number;
            return needed;
          });
          expect(selected[token]).toEqual(padded(active, EXPERTS, EXPERTS));
          expect(indices[token]).toEqual(padded(active, maxActive, EXPERTS));
          const wanted = active.map((expert) => probabilities[expert] as number);
          expect(distance(weights[token] ?? [], padded(wanted, maxActive, 0))).toBeLessThan(1e-12);
        }
      },
    );
    await fc.assert(property, { numRuns: 40 });
  });

  it("takes all at p = 1, and one where p is small", async () => {
    const all = topPRouter({ ...sizes, topP: 1 }).route({ weight }, {}, x);
    const scores = await rowsOf(all.scores);
    expect(await rowsOf(all.indices)).toEqual(scores.map(ranked));
    const one = topPRouter({ ...sizes, topP: 1e-9 }).route({ weight }, {}, x);
    expect(await values(loadOf(one)).then((load) => load.reduce((a, b) => a + b))).toBe(TOKENS);
  });

  it("drops the least likely beyond maxActive, and counts them", async () => {
    const router = topPRouter({ ...sizes, topP: 1, maxActive: 2 });
    const routing = router.route({ weight }, {}, x);
    const full = topPRouter({ ...sizes, topP: 1 }).route({ weight }, {}, x);
    expect(await values(loadOf(routing))).toEqual(new Array(EXPERTS).fill(TOKENS));
    const first = (rows: number[][]): number[][] => rows.map((row) => row.slice(0, 2));
    expect(await rowsOf(routing.indices)).toEqual(first(await rowsOf(full.indices)));
    expect(await rowsOf(routing.outputWeights)).toEqual(first(await rowsOf(full.outputWeights)));
  });

  it("renormalises over what is active, before any is dropped", async () => {
    const router = topPRouter({ ...sizes, topP: 0.9, normTopkProb: true });
    const sums = (await rowsOf(router.route({ weight }, {}, x).outputWeights)).map((row) =>
      row.reduce((a, b) => a + b, 0),
    );
    expect(distance(sums, new Array(TOKENS).fill(1))).toBeLessThan(1e-12);
  });

  it("has a capacity that padding takes nothing of", async () => {
    const capacity = { size: { absolute: 1 }, per: "batch", order: "position" } as const;
    const router = topPRouter({ ...sizes, topP: 1, maxActive: 3, capacity });
    expect(router.acrossTokens).toBe(true);
    const same = f64([1, 2, 3, 1, 2, 3, 1, 2, 3], [3, WIDTH]);
    const mask = backend.tensor([false, true, true]);
    const routing = router.route({ weight }, {}, same, { mask });
    const [first = []] = await rowsOf(routing.selected);
    expect(await rowsOf(routing.indices)).toEqual([
      [EXPERTS, EXPERTS, EXPERTS],
      first.slice(0, 3),
      [EXPERTS, EXPERTS, EXPERTS],
    ]);
    expect((await rowsOf(routing.outputWeights))[2]).toEqual([0, 0, 0]);
  });

  it("keeps NaN with its token", async () => {
    const router = topPRouter({ ...sizes, topP: 0.8, maxActive: 2 });
    const clean = await rowsOf(router.route({ weight }, {}, x).outputWeights);
    const data = await values(x);
    data[WIDTH] = Number.NaN;
    const routing = router.route({ weight }, {}, f64(data, [TOKENS, WIDTH]));
    const weights = await rowsOf(routing.outputWeights);
    expect(weights[1]?.some(Number.isNaN)).toBe(true);
    expect((await rowsOf(routing.indices))[1]?.[0]).toBeLessThan(EXPERTS);
    for (const token of [0, 2, 3]) expect(weights[token]).toEqual(clean[token]);
  });

  it("replays a choice of its own shape", async () => {
    const router = topPRouter({ ...sizes, topP: 0.8, maxActive: 2 });
    const routing = router.route({ weight }, {}, x);
    const other = drawn(9, [TOKENS, WIDTH]);
    const again = router.route({ weight }, {}, other, { selected: routing.selected });
    expect(await values(again.indices)).toEqual(await values(routing.indices));
  });

  it("is mixed by what runs", async () => {
    // Expert e multiplies by e + 1.
    const bank = {
      experts: EXPERTS,
      inputSize: WIDTH,
      outputSize: WIDTH,
      init: () => ({ params: {}, state: {} }),
      forward: (_: object, rows: Rows): Tensor =>
        mul(gather(rows), add(cast(rows.group, { dtype: "f64" }), 1).reshape([rows.group.size, 1])),
    };
    const router = topPRouter({ ...sizes, topP: 0.95, maxActive: 2 });
    const routing = router.route({ weight }, {}, x);
    const { indices, weights } = await rowsOfRouting(routing);
    const wanted = (await rowsOf(x)).flatMap((row, token) => {
      const factor = (indices[token] ?? []).reduce(
        (sum, expert, choice) => sum + (expert + 1) * (weights[token]?.[choice] as number),
        0,
      );
      return row.map((value) => value * factor);
    });
    expect(distance(await values(mixExperts(bank, {}, x, routing)), wanted)).toBeLessThan(1e-12);
  });

  it("is recorded and played back, what was dropped included", async () => {
    const router = topPRouter({ ...sizes, topP: 0.9, maxActive: 2 });
    const routing = router.route({ weight }, {}, x);
    const record = await recordRouting(routing);
    expect(record).toMatchObject({ tokens: TOKENS, topK: EXPERTS });
    const stored = JSON.parse(JSON.stringify(record)) as typeof record;
    const again = replayRouter(router, stored).route({ weight }, {}, drawn(9, [TOKENS, WIDTH]));
    expect(await values(again.indices)).toEqual(await values(routing.indices));
    expect(await values(again.selected)).toEqual(await values(routing.selected));
  });

  it("has gradients", async () => {
    const router = topPRouter({ ...sizes, topP: 0.8, maxActive: 3, normTopkProb: true });
    await expectGradients({ weight }, (params) => router.route(params, {}, x));
  });
});

describe("reluRouter", () => {
  it("takes every expert above 0, weighted by its logit", async () => {
    const router = reluRouter(sizes);
    const { state } = router.init(key, f64Init);
    const routing = router.route({ weight }, state, x);
    const { indices, weights } = await rowsOfRouting(routing);
    for (const [token, logits] of times(await rowsOf(x), await rowsOf(weight)).entries()) {
      const active = ranked(logits).filter((expert) => (logits[expert] as number) > 0);
      expect(indices[token]).toEqual(padded(active, EXPERTS, EXPERTS));
      const wanted = active.map((expert) => logits[expert] as number);
      expect(distance(weights[token] ?? [], padded(wanted, EXPERTS, 0))).toBeLessThan(1e-12);
    }
    expect(await values(routing.carry?.["sparsityCoefficient"])).toEqual([1e-8]);
  });

  it("gives a token with nothing above 0 no expert", async () => {
    const router = reluRouter({ ...sizes, maxActive: 2 });
    const { state } = router.init(key, f64Init);
    const negative = f64(new Array(EXPERTS * WIDTH).fill(-1), [EXPERTS, WIDTH]);
    const ones = f64([1, 1, 1], [1, WIDTH]);
    const routing = router.route({ weight: negative }, state, ones);
    expect(await values(routing.indices)).toEqual([EXPERTS, EXPERTS]);
    expect(await values(routing.outputWeights)).toEqual([0, 0]);
    const broken = router.route({ weight: negative }, state, f64([1, Number.NaN, 1], [1, WIDTH]));
    expect((await values(broken.outputWeights)).every(Number.isNaN)).toBe(true);
  });

  it("is continuous where an expert comes in, and its gradients say so", async () => {
    const router = reluRouter(sizes);
    const { state } = router.init(key, f64Init);
    await expectGradients({ weight }, (params) => router.route(params, state, x));
    // The logit of expert 0 is its one weight; a sliver above 0 weighs a sliver.
    const one = reluRouter({ hiddenSize: 1, numExperts: 1 });
    const input = f64([1], [1, 1]);
    for (const sliver of [1e-9, -1e-9]) {
      const routing = one.route({ weight: f64([sliver], [1, 1]) }, state, input);
      expect(await values(routing.outputWeights)).toEqual([Math.max(sliver, 0)]);
    }
  });

  it("needs the state that init made", () => {
    expect(() => reluRouter(sizes).route({ weight }, {}, x)).toThrow(/sparsityCoefficient/);
  });
});

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

describe("bad options", () => {
  it.each<[string, () => unknown]>([
    ["topP", () => topPRouter({ ...sizes, topP: 0 })],
    ["topP", () => topPRouter({ ...sizes, topP: 1.1 })],
    ["maxActive", () => topPRouter({ ...sizes, topP: 0.5, maxActive: 6 })],
    ["maxActive", () => reluRouter({ ...sizes, maxActive: 0 })],
    ["initialCoefficient", () => reluRouter({ ...sizes, initialCoefficient: 0 })],
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
