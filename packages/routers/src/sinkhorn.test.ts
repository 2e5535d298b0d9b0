import { ConfigError, type Tensor, stopGradient, topK } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { sinkhorn, sinkhornRouter } from "./sinkhorn.ts";
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

/** Megatron-LM's loop, as it stands there. */
function sinkhornByLoops(logits: readonly (readonly number[])[], tolerance = 1e-4): number[][] {
  const cost = logits.map((row) => row.map(Math.exp));
  const [tokens, experts] = [cost.length, cost[0]?.length ?? 0];
  let columns = new Array<number>(experts).fill(1);
  let rows = new Array<number>(tokens).fill(1);
  for (let error = Number.POSITIVE_INFINITY; error > tolerance;) {
    const before = columns;
    rows = cost.map(
      (row) => 1 / tokens / (row.reduce((s, c, e) => s + c * (before[e] as number), 0) + 1e-8),
    );
    columns = before.map(
      (_, e) =>
        1 /
        experts /
        (cost.reduce((s, row, t) => s + (row[e] as number) * (rows[t] as number), 0) + 1e-8),
    );
    error = columns.reduce((s, c, e) => s + Math.abs(c - (before[e] as number)), 0) / experts;
  }
  return cost.map((row, t) => row.map((c, e) => c * (columns[e] as number) * (rows[t] as number)));
}

const TOKENS = 17;
const EXPERTS = 4;
const logits = drawn(3, [TOKENS, EXPERTS]);
const route = (
  input: Tensor,
  options: { topK?: number; training?: boolean; mask?: Tensor } = {},
): ReturnType<ReturnType<typeof sinkhornRouter>["route"]> => {
  const { topK: k, training, mask } = options;
  const router = sinkhornRouter({ hiddenSize: EXPERTS, numExperts: EXPERTS, topK: k });
  const params = { weight: identity(EXPERTS) };
  return router.route(params, {}, input, { training, mask });
};

describe("sinkhorn", () => {
  it.each([1, 4])("is Megatron's loop with logits times %i", async (sharpness) => {
    const data = draws(3, TOKENS * EXPERTS).map((value) => value * sharpness);
    const given = f64(data, [TOKENS, EXPERTS]);
    const wanted = sinkhornByLoops(await rowsOf(given));
    const found = await rowsOf(sinkhorn(given, { maxIterations: 400 }));
    for (const [row, own] of found.entries()) {
      expect(distance(own, wanted[row] ?? [])).toBeLessThan(1e-3 * Math.max(...own));
    }
  });

  it("evens out rows and columns, and does nothing after it has converged", async () => {
    const tight = { tolerance: 1e-12 };
    const even = await rowsOf(sinkhorn(logits, { ...tight, maxIterations: 200 }));
    for (const row of even) expect(row.reduce((a, b) => a + b)).toBeCloseTo(1 / TOKENS, 6);
    for (let e = 0; e < EXPERTS; e++) {
      const column = even.reduce((total, row) => total + (row[e] as number), 0);
      expect(column).toBeCloseTo(1 / EXPERTS, 6);
    }
    const more = await values(sinkhorn(logits, { maxIterations: 90 }));
    expect(await values(sinkhorn(logits, { maxIterations: 40 }))).toEqual(more);
    expect(await values(sinkhorn(logits, { maxIterations: 2 }))).not.toEqual(more);
  });

  it("overflows with no logits that float32 holds", async () => {
    const data = draws(3, TOKENS * EXPERTS).map((value) => value + 500);
    const high = backend.tensor(data, { shape: [TOKENS, EXPERTS], dtype: "f32" });
    const found = await values(sinkhorn(high));
    expect(found.every(Number.isFinite)).toBe(true);
    expect(distance(found, await values(sinkhorn(logits)))).toBeLessThan(1e-4);
  });

  it("leaves padding and NaN out", async () => {
    const keep = Array.from({ length: TOKENS }, (_, token) => token % 4 !== 2);
    const rows = await rowsOf(logits);
    const kept = rows.filter((_, token) => keep[token]);
    const alone = await rowsOf(sinkhorn(f64(kept.flat(), [kept.length, EXPERTS])));
    const junk = rows.map((row, token) => (keep[token] ? row : row.map(() => Number.NaN)));
    for (const mask of [backend.tensor(keep), undefined]) {
      const found = await rowsOf(sinkhorn(f64(junk.flat(), [TOKENS, EXPERTS]), { mask }));
      const live = found.filter((_, token) => keep[token]);
      expect(distance(live.flat(), alone.flat())).toBeLessThan(1e-12);
      const rest = found.filter((_, token) => !keep[token]).flat();
      if (mask) expect(rest.every((value) => value === 0 || Number.isNaN(value))).toBe(true);
    }
  });

  it("refuses what makes no sense", () => {
    for (const tolerance of [0, -1, Number.NaN]) {
      expect(() => sinkhorn(logits, { tolerance })).toThrow(ConfigError);
    }
    for (const maxIterations of [0, 2.5]) {
      const options = { hiddenSize: 4, numExperts: 4, maxIterations };
      expect(() => sinkhornRouter(options)).toThrow(/maxIterations/);
    }
    expect(() => sinkhornRouter({ hiddenSize: 4, numExperts: 4, topK: 5 })).toThrow(/topK/);
  });
});

describe("sinkhornRouter", () => {
  it.each([1, 2])(
    "chooses by the matrix in training and weighs by raw logits, k = %i",
    async (k) => {
      const routing = route(logits, { topK: k, training: true });
      const matrix = await rowsOf(sinkhorn(logits));
      const rows = await rowsOf(logits);
      const wanted = matrix.flatMap((row) => ranked(row).slice(0, k));
      expect(await values(routing.indices)).toEqual(wanted);
      const scores = rows.map((row) =>
        k === 1 ? row.map((value) => 1 / (1 + Math.exp(-value))) : softmaxOf(row),
      );
      const weights = wanted.map((expert, at) => scores[Math.floor(at / k)]?.[expert] as number);
      expect(distance(await values(routing.outputWeights), weights)).toBeLessThan(1e-12);
    },
  );

  it("is the plain best outside training", async () => {
    const routing = route(logits, { topK: 2 });
    expect(await values(routing.indices)).toEqual(
      await values(topK(stopGradient(logits), undefined, { k: 2 })[1]),
    );
  });

  it("evens out the load in training", async () => {
    const data = draws(5, 64 * EXPERTS).map((value, at) => value + (at % EXPERTS === 0 ? 3 : 0));
    const skewed = f64(data, [64, EXPERTS]);
    const most = async (training: boolean): Promise<number> => {
      const chosen = await values(route(skewed, { training }).indices);
      return Math.max(...[0, 1, 2, 3].map((e) => chosen.filter((own) => own === e).length));
    };
    expect(await most(false)).toBeGreaterThan(50);
    expect(await most(true)).toBeLessThan(30);
  });

  it("keeps NaN with its token", async () => {
    const data = draws(3, TOKENS * EXPERTS);
    data[EXPERTS] = Number.NaN;
    const weights = await values(
      route(f64(data, [TOKENS, EXPERTS]), { topK: 2, training: true }).outputWeights,
    );
    expect(weights.map(Number.isNaN)).toEqual(weights.map((_, at) => at === 2 || at === 3));
  });

  it("has the gradient of its weights", async () => {
    const router = sinkhornRouter({ hiddenSize: 3, numExperts: EXPERTS, topK: 2 });
    const x = drawn(8, [6, 3]);
    await expectGradients({ weight: drawn(9, [EXPERTS, 3]) }, (params) =>
      router.route(params, {}, x, { training: true }),
    );
  });
});
