import {
  ConfigError,
  type Rows,
  type Tensor,
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
import { recordRouting, reluRouter, replayRouter, topPRouter } from "./index.ts";
import {
  backend,
  distance,
  drawn,
  expectGradients,
  f64,
  ranked,
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
const sizes = { hiddenSize: WIDTH, numExperts: EXPERTS };
const weight = drawn(3, [EXPERTS, WIDTH]);

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

describe("bad options", () => {
  it.each<[string, () => unknown]>([
    ["topP", () => topPRouter({ ...sizes, topP: 0 })],
    ["topP", () => topPRouter({ ...sizes, topP: 1.1 })],
    ["maxActive", () => topPRouter({ ...sizes, topP: 0.5, maxActive: 6 })],
    ["maxActive", () => reluRouter({ ...sizes, maxActive: 0 })],
    ["initialCoefficient", () => reluRouter({ ...sizes, initialCoefficient: 0 })],
  ])("%s", (name, make) => {
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(expect.objectContaining({ key: name }));
  });
});
