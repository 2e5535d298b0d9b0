import { ConfigError, DTypeError, loadOf, randomKey } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type HierarchyLevelOptions,
  type LevelSpec,
  hierarchicalRouter,
  linearRouter,
} from "./index.ts";
import {
  backend,
  distance,
  drawn,
  expectGradients,
  f64,
  i32,
  ranked,
  rowsOf,
  softmaxOf,
  times,
  values,
} from "./testing/numbers.ts";

const WIDTH = 3;
const TOKENS = 4;
const x = drawn(1, [TOKENS, WIDTH]);
const key = randomKey(9);
const f64Init = { backend, dtype: "f64" } as const;

const branch = (
  experts: number,
  topK: number,
  more: Partial<LevelSpec> = {},
): HierarchyLevelOptions => ({
  spec: { experts, topK, score: "softmax", ...more },
});

const specs: readonly Partial<LevelSpec>[] = [
  {},
  { renormalize: {} },
  { score: "sigmoid", renormalize: { epsilon: 1e-20 }, scale: 2.5 },
  { selectBy: "logits", weight: "softmaxOfChosen", softcap: 2 },
  { temperature: 0.5, score: "sqrtSoftplus" },
];

describe("hierarchicalRouter", () => {
  it("goes down the tree, and multiplies weights", async () => {
    const router = hierarchicalRouter({
      inputSize: WIDTH,
      levels: [branch(3, 2, { renormalize: {} }), branch(4, 2)],
    });
    expect(router).toMatchObject({ experts: 12, topK: 4, acrossTokens: false });
    const [coarse, fine] = [drawn(3, [3, WIDTH]), drawn(4, [12, WIDTH])];
    const routing = router.route({ levels: [{ weight: coarse }, { weight: fine }] }, {}, x);
    const groups = times(await rowsOf(x), await rowsOf(coarse)).map(softmaxOf);
    const inner = times(await rowsOf(x), await rowsOf(fine));
    const [indices, weights, scores] = [[], [], []] as [number[], number[], number[]];
    for (const [token, shares] of groups.entries()) {
      const row = inner[token] ?? [];
      const within = shares.map((_, group) => softmaxOf(row.slice(group * 4, group * 4 + 4)));
      scores.push(...shares.flatMap((share, g) => (within[g] ?? []).map((score) => share * score)));
      const best = ranked(shares).slice(0, 2);
      const total = best.reduce((sum, group) => sum + (shares[group] as number), 0);
      for (const group of best) {
        const own = within[group] ?? [];
        for (const expert of ranked(own).slice(0, 2)) {
          indices.push(group * 4 + expert);
          weights.push(((shares[group] as number) / total) * (own[expert] as number));
        }
      }
    }
    expect(await values(routing.indices)).toEqual(indices);
    expect(distance(await values(routing.outputWeights), weights)).toBeLessThan(1e-12);
    expect(distance(await values(routing.scores), scores)).toBeLessThan(1e-12);
  });

  it.each(specs)("with one group equals the flat router: %o", async (more) => {
    const spec: LevelSpec = { experts: 6, topK: 3, score: "softmax", ...more };
    const weight = drawn(4, [6, WIDTH]);
    const flat = linearRouter({ inputSize: WIDTH, spec }).route({ weight }, {}, x);
    for (const renormalize of [undefined, {}]) {
      const router = hierarchicalRouter({
        inputSize: WIDTH,
        levels: [branch(1, 1, { renormalize }), branch(1, 1), { spec }],
      });
      const top = { weight: drawn(5, [1, WIDTH]) };
      const routing = router.route({ levels: [top, top, { weight }] }, {}, x);
      expect(await values(routing.indices)).toEqual(await values(flat.indices));
      expect(await values(routing.outputWeights)).toEqual(await values(flat.outputWeights));
      expect(await values(routing.scores)).toEqual(await values(flat.scores));
      const logits = (await values(flat.logits)).map((logit) => {
        const warm = logit / (spec.temperature ?? 1);
        return spec.softcap ? spec.softcap * Math.tanh(warm / spec.softcap) : warm;
      });
      expect(distance(await values(routing.logits), logits)).toBeLessThan(1e-12);
    }
  });

  it("with all branches everywhere is a distribution over the experts", async () => {
    const property = fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 4 }),
      fc.nat(),
      async (branches, seed) => {
        const router = hierarchicalRouter({
          inputSize: WIDTH,
          levels: branches.map((count) => branch(count, count)),
          initializerRange: 1,
        });
        const { params } = router.init(randomKey(seed), f64Init);
        const routing = router.route(params, {}, x);
        const scores = await rowsOf(routing.scores);
        const weights = await rowsOf(routing.outputWeights);
        for (const [token, row] of (await rowsOf(routing.indices)).entries()) {
          expect(new Set(row).size).toBe(router.experts);
          const own = row.map((expert) => scores[token]?.[expert] as number);
          expect(distance(weights[token] ?? [], own)).toBeLessThan(1e-12);
          expect(own.reduce((a, b) => a + b)).toBeCloseTo(1, 10);
        }
      },
    );
    await fc.assert(property, { numRuns: 25 });
  });

  it("relabelling the branches permutes the experts", async () => {
    const router = hierarchicalRouter({ inputSize: WIDTH, levels: [branch(2, 1), branch(3, 2)] });
    const [coarse, fine] = [await rowsOf(drawn(3, [2, WIDTH])), await rowsOf(drawn(4, [6, WIDTH]))];
    const route = (top: number[][], bottom: number[][]) =>
      router.route(
        {
          levels: [
            { weight: f64(top.flat(), [2, WIDTH]) },
            { weight: f64(bottom.flat(), [6, WIDTH]) },
          ],
        },
        {},
        x,
      );
    const first = route(coarse, fine);
    const swapped = route(coarse.toReversed(), [...fine.slice(3), ...fine.slice(0, 3)]);
    const moved = (await values(first.indices)).map((expert) => (expert + 3) % 6);
    expect(await values(swapped.indices)).toEqual(moved);
    expect(await values(swapped.outputWeights)).toEqual(await values(first.outputWeights));
  });

  it("goes by labels on the first level", async () => {
    const router = hierarchicalRouter({
      inputSize: WIDTH,
      levels: [{ ...branch(3, 1), by: "label" }, branch(2, 1, { renormalize: {} })],
    });
    const { params } = router.init(key, f64Init);
    expect(params.levels[0]).toEqual({});
    const labels = i32(2, 0, 5, -1);
    const routing = router.route(params, {}, x, { labels });
    const indices = await values(routing.indices);
    expect(indices.map((expert) => (expert === 6 ? -1 : Math.floor(expert / 2)))).toEqual([
      2, 0, -1, -1,
    ]);
    expect(await values(routing.outputWeights)).toEqual([1, 1, 0, 0]);
    const scores = await rowsOf(routing.scores);
    const sums = scores.map((row) => row.reduce((a, b) => a + b));
    expect(distance(sums, [1, 1, 0, 0])).toBeLessThan(1e-12);
    expect((await values(loadOf(routing))).reduce((a, b) => a + b)).toBe(2);
    expect((await values(routing.logits)).every(Number.isFinite)).toBe(true);
    expect(() => router.route(params, {}, x)).toThrow(/context\.labels/);
    expect(() => router.route(params, {}, x, { labels: drawn(1, [4]) })).toThrow(DTypeError);
  });

  it("weighs choices that are played back", async () => {
    const router = hierarchicalRouter({
      inputSize: WIDTH,
      levels: [branch(3, 2, { renormalize: {} }), branch(4, 2, { renormalize: {} })],
      initializerRange: 1,
    });
    const { params } = router.init(key, f64Init);
    const routing = router.route(params, {}, x);
    const again = router.route(params, {}, x, { selected: routing.selected });
    expect(await values(again.outputWeights)).toEqual(await values(routing.outputWeights));
    const others = router.route(params, {}, drawn(7, [TOKENS, WIDTH]), {
      selected: routing.selected,
    });
    expect(await values(others.indices)).toEqual(await values(routing.indices));
    for (const row of await rowsOf(others.outputWeights)) {
      expect(row.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
    }
  });

  it("drops by a capacity of the experts", async () => {
    const capacity = { size: { absolute: 1 }, per: "batch", order: "position" } as const;
    const router = hierarchicalRouter({
      inputSize: WIDTH,
      levels: [branch(2, 1), branch(2, 1)],
      capacity,
    });
    expect(router.acrossTokens).toBe(true);
    const same = f64([1, 2, 3, 1, 2, 3], [2, WIDTH]);
    const routing = router.route(router.init(key, f64Init).params, {}, same);
    expect((await values(routing.indices))[1]).toBe(4);
    expect((await values(routing.outputWeights))[1]).toBe(0);
  });

  it("keeps NaN with its token, and takes no tokens at all", async () => {
    const router = hierarchicalRouter({ inputSize: WIDTH, levels: [branch(2, 1), branch(2, 2)] });
    const { params } = router.init(key, f64Init);
    const clean = await rowsOf(router.route(params, {}, x).outputWeights);
    const data = await values(x);
    data[WIDTH] = Number.NaN;
    const broken = router.route(params, {}, f64(data, [TOKENS, WIDTH]));
    const weights = await rowsOf(broken.outputWeights);
    expect(weights[1]?.every(Number.isNaN)).toBe(true);
    for (const token of [0, 2, 3]) expect(weights[token]).toEqual(clean[token]);
    expect(router.route(params, {}, f64([], [0, WIDTH])).indices.shape).toEqual([0, 2]);
  });

  it("has gradients on every level", async () => {
    const router = hierarchicalRouter({
      inputSize: WIDTH,
      levels: [
        branch(2, 2, { renormalize: {} }),
        branch(2, 1, { score: "sigmoid" }),
        branch(3, 2, { selectBy: "logits", weight: "softmaxOfChosen" }),
      ],
      initializerRange: 1,
    });
    const { params } = router.init(key, f64Init);
    await expectGradients(params, (own) => router.route(own, {}, x));
    const labelled = hierarchicalRouter({
      inputSize: WIDTH,
      levels: [{ ...branch(3, 1), by: "label" }, branch(3, 2, { renormalize: {} })],
      initializerRange: 1,
    });
    const labels = i32(2, 0, 5, 1);
    await expectGradients(labelled.init(key, f64Init).params, (own) =>
      labelled.route(own, {}, x, { labels }),
    );
  });
});

describe("bad options of hierarchicalRouter", () => {
  it.each<[string, readonly HierarchyLevelOptions[]]>([
    ["levels", []],
    ["topK", [branch(2, 3)]],
    ["levels[0].spec", [branch(2, 1, { bias: true } as never)]],
    ["levels[0].spec", [branch(2, 1, { renormalize: { when: "after", epsilon: 1 } })]],
    ["levels[1].by", [branch(2, 1), { ...branch(2, 1), by: "label" }]],
    ["levels[0].by", [{ ...branch(2, 2), by: "label" }]],
    ["levels[0].by", [{ ...branch(2, 2), by: "task" as never }]],
  ])("%s", (name, levels) => {
    const make = (): unknown => hierarchicalRouter({ inputSize: WIDTH, levels });
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(expect.objectContaining({ key: name }));
  });

  it("names parameters that do not fit", () => {
    const router = hierarchicalRouter({ inputSize: WIDTH, levels: [branch(2, 1), branch(2, 1)] });
    expect(() => router.route({ levels: [] }, {}, x)).toThrow(/params\.levels/);
    expect(() => router.route({ levels: [{}, {}] }, {}, x)).toThrow(/params\.weight/);
  });
});
