import {
  type CapacitySpec,
  ConfigError,
  type RouteContext,
  type RouteSpec,
  ShapeError,
  type Tensor,
  UnsupportedError,
  capacityOf,
  randomKey,
} from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linearRouter } from "./linear-router.ts";
import { overflowController } from "./overflow-controller.ts";
import { type OverflowOptions, overflowRouter } from "./overflow.ts";
import {
  backend,
  distance,
  drawn,
  draws,
  expectGradients,
  f64,
  identity,
  rowsOf,
  softmaxOf,
  values,
} from "./testing/numbers.ts";

const EXPERTS = 4;
const params = { weight: identity(EXPERTS) };
const capacity = (factor: number, per: CapacitySpec["per"] = "batch"): CapacitySpec => ({
  size: { factor },
  per,
  order: "position",
});
const specOf = (topK: number, own: CapacitySpec, more: Partial<RouteSpec> = {}): RouteSpec => ({
  experts: EXPERTS,
  topK,
  score: "softmax",
  capacity: own,
  ...more,
});

function route(
  spec: RouteSpec,
  logits: Tensor,
  context: RouteContext = {},
  options: OverflowOptions = {},
  state: { overflowThreshold?: Tensor } = {},
) {
  const router = overflowRouter({ hiddenSize: EXPERTS, spec, ...options });
  return router.route(params, state, logits, context);
}

const plain = (spec: RouteSpec, logits: Tensor, context: RouteContext = {}) =>
  linearRouter({ inputSize: EXPERTS, spec }).route(params, {}, logits, context);

function count(list: number[], at: number): void {
  list[at] = (list[at] ?? 0) + 1;
}

describe("overflow", () => {
  it("keeps its laws for any groups, masks, orders and thresholds", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          lengths: fc.array(fc.integer({ min: 0, max: 8 }), { minLength: 1, maxLength: 3 }),
          k: fc.integer({ min: 1, max: 3 }),
          factor: fc.constantFrom(0.25, 0.5, 1, 1.5),
          per: fc.constantFrom("batch" as const, "sequence" as const),
          order: fc.constantFrom(
            "position",
            "choice",
            "probability",
            "prioritized",
          ) as fc.Arbitrary<CapacitySpec["order"]>,
          threshold: fc.constantFrom(0, 0.2),
          seed: fc.nat(1e6),
          masked: fc.boolean(),
        }),
        async ({ lengths, k, factor, per, order, threshold, seed, masked }) => {
          const sequences = lengths.reduce((list, n) => [...list, (list.at(-1) ?? 0) + n], [0]);
          const tokens = sequences.at(-1) ?? 0;
          const skewed = draws(seed, tokens * EXPERTS).map(
            (v, at) => v + (at % EXPERTS === 1 ? 2 : 0),
          );
          const logits = f64(skewed, [tokens, EXPERTS]);
          const keep = draws(seed + 1, tokens).map((value) => !masked || value > -0.5);
          const mask = masked
            ? backend.tensor(keep, { shape: [tokens], dtype: "bool" })
            : undefined;
          const own: CapacitySpec = { size: { factor }, per, order };
          const spec = specOf(k, own);
          const context = { sequences, mask };
          const routing = route(spec, logits, context, { threshold });
          const before = await rowsOf(plain(spec, logits, context).indices);
          const [selected, indices, weights] = await Promise.all(
            [routing.selected, routing.indices, routing.outputWeights].map(rowsOf),
          );
          const scores = (await rowsOf(logits)).map(softmaxOf);
          const groups = per === "batch" ? [0, tokens] : sequences;
          const groupOf = (token: number): number =>
            groups.slice(1).findIndex((end) => token < end);
          const loads = groups.slice(1).map(() => new Array<number>(EXPERTS).fill(0));
          const places = groups
            .slice(1)
            .map((end, g) => capacityOf(own, end - (groups[g] ?? 0), k, EXPERTS));
          for (const [token, row] of (indices ?? []).entries()) {
            const chosen = selected?.[token] ?? [];
            const kept = row.filter((e) => e < EXPERTS);
            if (!keep[token]) expect(kept).toEqual([]);
            expect(new Set(kept).size).toBe(kept.length);
            for (const [j, expert] of row.entries()) {
              const first = before[token]?.[j] as number;
              // Who had a place keeps it; the others go to one that the token had not chosen.
              if (first < EXPERTS) expect(expert).toBe(first);
              else if (expert < EXPERTS) {
                expect(chosen).not.toContain(expert);
                expect(scores[token]?.[expert]).toBeGreaterThanOrEqual(threshold);
              }
              const weight = expert < EXPERTS ? (scores[token]?.[expert] as number) : 0;
              expect(weights?.[token]?.[j]).toBeCloseTo(weight, 12);
              if (expert < EXPERTS) count(loads[groupOf(token)] ?? [], expert);
            }
          }
          for (const [g, load] of loads.entries()) {
            for (const taken of load) expect(taken).toBeLessThanOrEqual(places[g] as number);
          }
          // Nobody is left who could have had a place.
          for (const [token, row] of (indices ?? []).entries()) {
            if (!keep[token] || row.every((e) => e < EXPERTS)) continue;
            const load = loads[groupOf(token)] as number[];
            for (let e = 0; e < EXPERTS; e++) {
              if (row.includes(e) || selected?.[token]?.includes(e)) continue;
              if ((scores[token]?.[e] as number) < threshold) continue;
              expect(load[e]).toBe(places[groupOf(token)]);
            }
          }
        },
      ),
      { seed: 6, numRuns: 40 },
    );
  }, 60_000);

  it("with room for all is dropless, and without rounds it drops", async () => {
    const logits = drawn(2, [12, EXPERTS]);
    const roomy = route(specOf(2, capacity(EXPERTS)), logits);
    const { capacity: _, ...dropless } = specOf(2, capacity(1));
    const free = plain(dropless, logits);
    expect(await values(roomy.indices)).toEqual(await values(free.indices));
    expect(await values(roomy.outputWeights)).toEqual(await values(free.outputWeights));
    for (const renormalize of [
      undefined,
      { epsilon: 1e-9 },
      { epsilon: 1e-9, when: "after" } as const,
    ]) {
      const spec = specOf(2, capacity(0.5), { renormalize, scale: 3 });
      const tight = route(spec, logits, {}, { rounds: 0 });
      const dropped = plain(spec, logits);
      expect(await values(tight.indices)).toEqual(await values(dropped.indices));
      expect(
        distance(await values(tight.outputWeights), await values(dropped.outputWeights)),
      ).toBeLessThan(1e-15);
    }
  });

  it("lets the highest scores in first", async () => {
    // All want expert 0, which takes one; expert 1 takes one more, and the best of the rest gets it.
    const logits = f64([5, 1, 0, 0, 5, 3, 0, 0, 5, 2, 0, 0, 5, 2.5, 0, 0], [4, EXPERTS]);
    const spec = specOf(1, { size: { absolute: 1 }, per: "batch", order: "position" });
    expect(await values(route(spec, logits, {}, { rounds: 1 }).indices)).toEqual([0, 1, 4, 4]);
    // With equal logits for experts 2 and 3, token 2 has the higher score: its others are lower.
    expect(await values(route(spec, logits).indices)).toEqual([0, 1, 2, 3]);
    const none = await values(route(spec, logits, {}, { threshold: 0.9 }).indices);
    expect(none).toEqual([0, 4, 4, 4]);
  });

  it("renormalises over where the token went in the end", async () => {
    const logits = drawn(4, [8, EXPERTS]);
    const spec = specOf(2, capacity(1), { renormalize: { epsilon: 1e-12, when: "after" } });
    const routing = route(spec, logits);
    for (const row of await rowsOf(routing.outputWeights)) {
      const sum = row.reduce((a, b) => a + b, 0);
      expect(sum === 0 || Math.abs(sum - 1) < 1e-9).toBe(true);
    }
  });

  it("keeps NaN with its token, and gives it no place that it did not choose", async () => {
    const data = draws(5, 8 * EXPERTS);
    data[9] = Number.NaN;
    // With places for all, with the fewest, and behind others in the only queue.
    const full = data.map((value, at) => (at % EXPERTS === 0 && at !== 8 ? value + 9 : value));
    for (const [logits, factor, found] of [
      [data, EXPERTS, true],
      [full, EXPERTS / 8, false],
    ] as const) {
      const routing = route(specOf(1, capacity(factor)), f64(logits, [8, EXPERTS]));
      const weights = (await rowsOf(routing.outputWeights)).flat();
      expect(weights.map(Number.isNaN)).toEqual(weights.map((_, token) => found && token === 2));
      const places = (await rowsOf(routing.indices)).flat();
      const chosen = (await rowsOf(routing.selected)).flat();
      expect(places[2]).toBe(found ? chosen[2] : EXPERTS);
    }
  });

  it("has the gradient of its weights", async () => {
    const router = overflowRouter({
      hiddenSize: 3,
      spec: specOf(2, capacity(0.75), { renormalize: { epsilon: 1e-9 } }),
    });
    await expectGradients(
      { weight: drawn(1, [EXPERTS, 3]), x: drawn(3, [6, 3]) },
      ({ weight, x }) => router.route({ weight }, {}, x),
    );
  });

  it("refuses what makes no sense", () => {
    const spec = specOf(1, capacity(1));
    const { capacity: _, ...dropless } = spec;
    expect(() => overflowRouter({ hiddenSize: 4, spec: dropless })).toThrow(/capacity/);
    for (const options of [{ rounds: -1 }, { rounds: 0.5 }, { threshold: Number.NaN }] as const) {
      expect(() => overflowRouter({ hiddenSize: 4, spec, ...options })).toThrow(ConfigError);
    }
    const learned = { threshold: { learned: "token" as never } };
    expect(() => overflowRouter({ hiddenSize: 4, spec, ...learned })).toThrow(/token/);
  });
});

describe("learned thresholds", () => {
  const spec = specOf(1, { size: { absolute: 2 }, per: "batch", order: "position" });
  const logits = drawn(7, [8, EXPERTS]);

  it.each([
    ["expert", [4]],
    ["global", [1]],
  ] as const)("stand in the state: %s", async (learned, shape) => {
    const options = { threshold: { learned, initial: 0.4 } };
    const router = overflowRouter({ hiddenSize: EXPERTS, spec, ...options });
    expect(router.stateShapes).toEqual({ overflowThreshold: shape });
    const { state } = router.init(randomKey(1), { backend, dtype: "f32" });
    const found = router.route(params, state, logits);
    const fixed = route(spec, logits, {}, { threshold: 0.4 });
    expect(await values(found.indices)).toEqual(await values(fixed.indices));
    expect(() => router.route(params, {}, logits)).toThrow(ConfigError);
    expect(() => router.route(params, { overflowThreshold: f64([1, 2], [2]) }, logits)).toThrow(
      ShapeError,
    );
  });

  it("follow the scores of those who chose an expert themselves", async () => {
    const mask = backend.tensor([true, true, true, true, true, true, true, false]);
    const routing = route(spec, logits, { mask });
    const scores = (await rowsOf(logits)).map(softmaxOf);
    const [selected, indices] = [await values(routing.selected), await values(routing.indices)];
    const own = Array.from({ length: EXPERTS }, (_, expert) =>
      selected.flatMap((e, token) =>
        e === expert && indices[token] === e && token < 7 ? [scores[token]?.[e] as number] : [],
      ),
    );
    const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
    const controller = overflowController({ momentum: 0.75, fraction: 0.5 });
    const start = [0.1, 0.2, 0.3, 0.4];
    const each = controller.update({ overflowThreshold: f64(start, [4]) }, [routing]);
    const wanted = start.map((old, e) =>
      own[e]?.length ? 0.75 * old + 0.25 * 0.5 * mean(own[e] ?? []) : old,
    );
    expect(distance(await values(each.overflowThreshold), wanted)).toBeLessThan(1e-12);
    const all = controller.update({ overflowThreshold: f64([0.2], [1]) }, [routing, routing]);
    expect(await values(all.overflowThreshold)).toHaveLength(1);
    expect((await values(all.overflowThreshold))[0]).toBeCloseTo(
      0.15 + 0.125 * mean(own.flat()),
      12,
    );
    expect(() => controller.update({}, [routing])).toThrow(/overflowThreshold/);
    expect(() => controller.update({ overflowThreshold: f64([1], [1]) }, [])).toThrow(ConfigError);
    const other = {
      ...routing,
      kind: "soft",
      slots: 1,
      dispatch: logits,
      combine: logits,
    } as const;
    expect(() => controller.update({ overflowThreshold: f64([1], [1]) }, [other])).toThrow(
      UnsupportedError,
    );
    expect(() => overflowController({ fraction: -1 })).toThrow(/fraction/);
    expect(() => overflowController({ momentum: 1 })).toThrow(/momentum/);
  });
});
