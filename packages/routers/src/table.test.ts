import { ConfigError, DTypeError, ShapeError, cast, loadOf, randomKey } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { makeExpertTable } from "./expert-table.ts";
import {
  type ExpertTable,
  deepseekV4HashRouter,
  hashRouter,
  learnedTableRouter,
  recordRouting,
  replayRouter,
  requireTokenIds,
} from "./index.ts";
import {
  backend,
  distance,
  drawn,
  expectGradients,
  i32,
  redrawn,
  rowsOf,
  times,
  values,
} from "./testing/numbers.ts";

const WIDTH = 3;
const x = drawn(1, [5, WIDTH]);
const tokenIds = i32(4, 0, 4, 2, 6);
const key = randomKey(9);
const f64Init = { backend, dtype: "f64" } as const;

const sizes = fc
  .record({ experts: fc.integer({ min: 1, max: 9 }), vocabSize: fc.integer({ min: 1, max: 40 }) })
  .chain((size) =>
    fc.record({
      experts: fc.constant(size.experts),
      vocabSize: fc.constant(size.vocabSize),
      topK: fc.integer({ min: 1, max: size.experts }),
      seed: fc.nat(),
    }),
  );

function countsOf(table: Int32Array, experts: number): number[] {
  return Array.from({ length: experts }, (_, expert) => table.filter((e) => e === expert).length);
}

describe("tables", () => {
  it.each<ExpertTable>(["random", "balanced", "modulo"])(
    "%s gives every id k distinct experts, and the same for the same key",
    (table) => {
      fc.assert(
        fc.property(sizes, ({ seed, ...size }) => {
          const rows = makeExpertTable({ table, ...size }, randomKey(seed));
          expect(rows.length).toBe(size.vocabSize * size.topK);
          expect(makeExpertTable({ table, ...size }, randomKey(seed))).toEqual(rows);
          for (let id = 0; id < size.vocabSize; id++) {
            const own = rows.slice(id * size.topK, (id + 1) * size.topK);
            expect(new Set(own).size).toBe(size.topK);
            expect(own.every((expert) => expert >= 0 && expert < size.experts)).toBe(true);
          }
        }),
        { numRuns: 60 },
      );
    },
  );

  it("balanced ones differ by one id at most", () => {
    fc.assert(
      fc.property(sizes, ({ seed, ...size }) => {
        const rows = makeExpertTable({ table: "balanced", ...size }, randomKey(seed));
        const counts = countsOf(rows, size.experts);
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
      }),
      { numRuns: 60 },
    );
  });

  it("balances by frequency, the most frequent ids first", () => {
    const frequencies = [1, 8, 1, 4, 1, 1];
    const rows = makeExpertTable(
      { table: "balanced", vocabSize: 6, experts: 2, topK: 1, frequencies },
      key,
    );
    const loads = [0, 1].map((expert) =>
      frequencies.reduce((total, f, id) => total + (rows[id] === expert ? f : 0), 0),
    );
    expect(loads).toEqual([8, 8]);
  });

  it("modulo goes round by id", () => {
    const rows = makeExpertTable({ table: "modulo", vocabSize: 5, experts: 4, topK: 2 }, key);
    expect([...rows]).toEqual([0, 2, 1, 3, 2, 0, 3, 1, 0, 2]);
  });

  it("of other keys are other tables", () => {
    const size = { vocabSize: 64, experts: 8, topK: 2 };
    for (const table of ["random", "balanced"] as const) {
      const [first, second] = [1, 2].map((seed) =>
        makeExpertTable({ table, ...size }, randomKey(seed)),
      );
      expect(first).not.toEqual(second);
    }
  });
});

describe("hashRouter", () => {
  const rows = Array.from({ length: 7 }, (_, id) => [id % 4, (id + 1) % 4]);
  const router = hashRouter({
    hiddenSize: WIDTH,
    numExperts: 4,
    numExpertsPerTok: 2,
    vocabSize: 7,
    hash: rows,
  });

  it("gives each token the experts of its id, 1/k each, whatever it is", async () => {
    expect(router).toMatchObject({ experts: 4, acrossTokens: false, shapes: {} });
    expect(router.stateShapes).toEqual({ table: [7, 2] });
    const { params, state } = router.init(key, f64Init);
    expect(params).toEqual({});
    expect(state["table"]?.dtype).toBe("i32");
    for (const input of [x, drawn(2, [5, WIDTH])]) {
      const routing = router.route(params, state, input, { tokenIds });
      expect(await values(routing.indices)).toEqual([0, 1, 0, 1, 0, 1, 2, 3, 2, 3]);
      expect(await values(routing.outputWeights)).toEqual(new Array(10).fill(0.5));
      expect(routing.logits.dtype).toBe("f64");
    }
  });

  it("gives an id outside the table no expert", async () => {
    const { params, state } = router.init(key, { backend });
    const outside = i32(4, 7, -1, 0, 2 ** 30);
    const routing = router.route(params, state, x, { tokenIds: outside });
    expect(await values(routing.indices)).toEqual([0, 1, 4, 4, 4, 4, 0, 1, 4, 4]);
    expect(await values(routing.outputWeights)).toEqual([0.5, 0.5, 0, 0, 0, 0, 0.5, 0.5, 0, 0]);
    expect(await values(loadOf(routing))).toEqual([2, 2, 0, 0]);
  });

  it("takes a float32 table, as files hold it, and none that would round", async () => {
    const { params, state } = router.init(key, { backend });
    const table = state["table"] as NonNullable<(typeof state)["table"]>;
    const stored = { table: cast(table, { dtype: "f32" }) };
    const routing = router.route(params, stored, x, { tokenIds });
    expect(await values(routing.indices)).toEqual([0, 1, 0, 1, 0, 1, 2, 3, 2, 3]);
    const half = { table: cast(table, { dtype: "bf16" }) };
    expect(() => router.route(params, half, x, { tokenIds })).toThrow(DTypeError);
  });

  it("replays", async () => {
    const { params, state } = router.init(key, { backend });
    const routing = router.route(params, state, x, { tokenIds });
    const record = await recordRouting(routing);
    const again = replayRouter(router, record).route(params, state, x);
    expect(await values(again.indices)).toEqual(await values(routing.indices));
  });

  it("refuses ids that a host can see are outside, by value", () => {
    expect(() => requireTokenIds([0, 6, 3], 7)).not.toThrow();
    for (const bad of [7, -1, 1.5, Number.NaN]) {
      expect(() => requireTokenIds([0, bad], 7)).toThrow(ConfigError);
      expect(() => requireTokenIds([0, bad], 7)).toThrow(`${bad} at position 1`);
    }
  });

  it("refuses what does not fit, by name", () => {
    const { params, state } = router.init(key, { backend });
    const route =
      (context: object, own: object = state) =>
      () =>
        router.route(params, own as typeof state, x, context);
    expect(route({})).toThrow(/context\.tokenIds/);
    expect(route({ tokenIds: drawn(1, [5]) })).toThrow(DTypeError);
    expect(route({ tokenIds: i32(1, 2) })).toThrow(ShapeError);
    expect(route({ tokenIds }, {})).toThrow(/state\.table/);
    expect(route({ tokenIds }, { table: i32(1, 2, 3) })).toThrow(/state\.table/);
    const make = (changed: object) => () =>
      hashRouter({ hiddenSize: WIDTH, numExperts: 4, vocabSize: 2, ...changed });
    expect(make({ vocabSize: 0 })).toThrow(/vocabSize is 0/);
    expect(make({ hash: "sha" })).toThrow(/table is sha/);
    expect(make({ hash: [[0]] })).toThrow(/table\.length is 1/);
    expect(make({ hash: [[0], [5]] })).toThrow(/table\[1\] is \[5\]/);
    expect(make({ hash: [[0], [1, 2]] })).toThrow(/table\[1\]/);
    expect(
      make({
        hash: [
          [0, 0],
          [1, 2],
        ],
        numExpertsPerTok: 2,
      }),
    ).toThrow(/differ/);
    expect(make({ hash: "random", frequencies: [1, 1] })).toThrow(/frequencies/);
    expect(make({ frequencies: [1] })).toThrow(/frequencies\.length/);
    expect(make({ frequencies: [1, -1] })).toThrow(/frequencies is -1/);
    expect(make({ numExpertsPerTok: 5 })).toThrow(/topK/);
  });
});

describe("deepseekV4HashRouter", () => {
  const router = deepseekV4HashRouter({
    hiddenSize: WIDTH,
    nRoutedExperts: 4,
    numExpertsPerTok: 2,
    vocabSize: 7,
  });

  it("weighs the experts of the table by √softplus of its gate", async () => {
    const { params, state } = router.init(key, f64Init);
    const own = redrawn(params, 5);
    const routing = router.route(own, state, x, { tokenIds });
    const table = await rowsOf(state["table"] as never);
    const logits = times(await rowsOf(x), await rowsOf(own.weight));
    const wanted = (await values(tokenIds)).flatMap((id, token) => {
      const scores = (table[id] as number[]).map((expert) =>
        Math.sqrt(Math.log1p(Math.exp(logits[token]?.[expert] as number))),
      );
      const total = scores.reduce((a, b) => a + b, 1e-20);
      return scores.map((score) => (1.5 * score) / total);
    });
    expect(distance(await values(routing.outputWeights), wanted)).toBeLessThan(1e-12);
  });

  it("has gradients, also where an id is outside", async () => {
    const { params, state } = router.init(key, f64Init);
    const ids = i32(4, 0, 9, 2, 6);
    await expectGradients(redrawn(params, 5), (own) =>
      router.route(own, state, x, { tokenIds: ids }),
    );
  });
});

describe("learnedTableRouter", () => {
  const router = learnedTableRouter({
    hiddenSize: WIDTH,
    vocabSize: 7,
    spec: { experts: 4, topK: 2, score: "softmax", renormalize: {} },
  });

  it("takes its logits from the row of the id", async () => {
    const own = redrawn(router.init(key, f64Init).params, 5);
    const routing = router.route(own, {}, x, { tokenIds });
    const table = await rowsOf(own.table);
    const wanted = (await values(tokenIds)).flatMap((id) => table[id] as number[]);
    expect(await values(routing.logits)).toEqual(wanted);
  });

  it("gives an id outside no expert, and finite gradients without an ε", async () => {
    const own = redrawn(router.init(key, f64Init).params, 5);
    const ids = i32(4, 7, 0, -3, 2);
    const routing = router.route(own, {}, x, { tokenIds: ids });
    const indices = await rowsOf(routing.indices);
    expect([indices[1], indices[3]]).toEqual([
      [4, 4],
      [4, 4],
    ]);
    expect((await rowsOf(routing.outputWeights))[1]).toEqual([0, 0]);
    await expectGradients(own, (params) => router.route(params, {}, x, { tokenIds: ids }));
  });
});
