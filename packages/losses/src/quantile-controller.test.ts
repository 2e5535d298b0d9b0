import {
  ConfigError,
  ShapeError,
  type Tensor,
  type TokenChoice,
  UnsupportedError,
  loadOf,
  routeTokens,
} from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { quantileController } from "./index.ts";
import { backend, bools, constant, draws, f64, total, values } from "./testing/routings.ts";

interface Given {
  readonly logits: readonly number[];
  readonly experts: number;
  readonly k: number;
  readonly bias: Tensor;
  readonly mask?: readonly (boolean | number)[] | undefined;
}

function routed({ logits, experts, k, bias, mask }: Given): TokenChoice {
  const spec = { experts, topK: k, score: "sigmoid", selectBy: "logits", bias: true } as const;
  const shape = [logits.length / experts, experts];
  return routeTokens(spec, { logits: f64(logits, shape), bias }, { mask: mask && bools(mask) });
}

/** `qb_dual_update` of Megatron-LM, by hand: β from S and the old β. */
function dualUpdate(
  rows: readonly (readonly number[])[],
  k: number,
  beta: readonly number[],
): number[] {
  const thresholds = rows.map(
    (row) => row.map((s, e) => s - (beta[e] ?? 0)).sort((a, b) => b - a)[k] ?? 0,
  );
  const place = Math.floor((rows.length * k) / beta.length);
  return beta.map(
    (_, e) =>
      rows.map((row, t) => (row[e] ?? 0) - (thresholds[t] ?? 0)).sort((a, b) => b - a)[place] ?? 0,
  );
}

const controller = quantileController();

describe("quantileController", () => {
  it("estimates what Megatron-LM's dual update gives, padding left out", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(1e6),
        fc.integer({ min: 2, max: 6 }),
        fc.integer({ min: 1, max: 12 }),
        fc.boolean(),
        async (seed, experts, tokens, masked) => {
          const k = 1 + (seed % (experts - 1));
          const logits = draws(seed, tokens * experts);
          const beta = draws(seed + 1, experts);
          const mask = masked
            ? Array.from({ length: tokens }, (_, t) => (seed >> t) % 2)
            : undefined;
          const bias = f64(beta.map((b) => -b));
          const rows = Array.from({ length: tokens }, (_, t) =>
            logits.slice(t * experts, (t + 1) * experts),
          ).filter((_, t) => mask === undefined || mask[t] === 1);
          const routing = routed({ logits, experts, k, bias, mask });
          const found = await values(controller.estimate({ selectionBias: bias }, routing));
          const wanted = rows.length === 0 ? beta : dualUpdate(rows, k, beta);
          expect(found).toHaveLength(experts);
          wanted.forEach((b, e) => expect(found[e]).toBeCloseTo(-b, 12));
        },
      ),
      { seed: 2, numRuns: 60 },
    );
  });

  it("averages estimates, blends them with the old and centres", async () => {
    const state = { selectionBias: f64([1, 0, -1]), lambda: f64([7]) };
    const estimates = [f64([0, 3, 0]), f64([0, 1, 2])];
    const { update } = quantileController({ momentum: 0.75 });
    const next = update(state, estimates);
    // 0.75 · old + 0.25 · [0, 2, 1] = [0.75, 0.5, -0.5], whose mean is 0.25.
    expect(await values(next.selectionBias)).toEqual([0.5, 0.25, -0.75]);
    expect(next.lambda).toBe(state.lambda);
    expect(await values(state.selectionBias)).toEqual([1, 0, -1]);
    expect(await values(estimates[0])).toEqual([0, 3, 0]);
  });

  it("evens out a router that prefers two experts, in a few steps", async () => {
    const [tokens, experts, k] = [256, 8, 2];
    const logits = draws(2, tokens * experts).map((x, at) => x + Math.max(0, 4 - 2 * (at % 8)));
    let state = { selectionBias: constant(0, experts) };
    const loads: number[][] = [];
    for (let step = 0; step < 6; step++) {
      const routing = routed({ logits, experts, k, bias: state.selectionBias });
      loads.push(await values(loadOf(routing)));
      state = controller.update(state, [controller.estimate(state, routing)]);
    }
    const violation = (load: readonly number[] | undefined): number =>
      Math.max(...(load ?? [])) / ((tokens * k) / experts) - 1;
    expect(violation(loads[0])).toBeGreaterThan(2);
    expect(violation(loads.at(-1))).toBeLessThan(0.2);
    expect(total(await values(state.selectionBias))).toBeCloseTo(0, 12);
  });

  it("reaches an uneven target", async () => {
    const [tokens, experts] = [400, 4];
    const target = [0.1, 0.2, 0.3, 0.4];
    const logits = draws(3, tokens * experts);
    const aimed = quantileController({ target });
    let state = { selectionBias: constant(0, experts) };
    let load: number[] = [];
    for (let step = 0; step < 8; step++) {
      const routing = routed({ logits, experts, k: 1, bias: state.selectionBias });
      load = await values(loadOf(routing));
      state = aimed.update(state, [aimed.estimate(state, routing)]);
    }
    target.forEach((share, e) =>
      expect(Math.abs((load[e] ?? 0) / tokens - share)).toBeLessThan(0.03),
    );
  });

  it("takes an even target as none", async () => {
    const bias = f64([0.3, 0, -0.3]);
    const routing = routed({
      logits: draws(5, 21),
      experts: 3,
      k: 2,
      bias,
      mask: [1, 1, 0, 1, 1, 1, 1],
    });
    const even = quantileController({ target: [1 / 3, 1 / 3, 1 / 3] });
    const wanted = await values(controller.estimate({ selectionBias: bias }, routing));
    expect(await values(even.estimate({ selectionBias: bias }, routing))).toEqual(wanted);
  });

  it("looks at scores where the router selects by them, and leaves nothing behind", async () => {
    const bias = f64([0, 0, 0]);
    const routing = routed({ logits: draws(6, 15), experts: 3, k: 1, bias });
    const before = backend.statistics().liveTensors;
    const found = quantileController({ selectBy: "scores" }).estimate(
      { selectionBias: bias },
      routing,
    );
    expect(backend.statistics().liveTensors).toBe(before + 1);
    const scores = await values(routing.scores);
    const rows = [0, 1, 2, 3, 4].map((t) => scores.slice(t * 3, t * 3 + 3));
    const wanted = dualUpdate(rows, 1, [0, 0, 0]);
    const estimate = await values(found);
    wanted.forEach((b, e) => expect(estimate[e]).toBeCloseTo(-b, 12));
  });

  it("keeps the bias where there is no token", async () => {
    const bias = f64([0.5, -0.5]);
    const routing = routed({ logits: [], experts: 2, k: 1, bias });
    expect(await values(controller.estimate({ selectionBias: bias }, routing))).toEqual([
      0.5, -0.5,
    ]);
  });

  it("refuses bad input by name", () => {
    for (const momentum of [-0.1, 1, Number.NaN]) {
      expect(() => quantileController({ momentum })).toThrow(/momentum/);
    }
    expect(() => quantileController({ selectBy: "rank" as "scores" })).toThrow(/selectBy/);
    expect(() => quantileController({ target: [1, 1] })).toThrow(/sums to 2/);
    const bias = f64([0, 0]);
    const routing = routed({ logits: draws(1, 4), experts: 2, k: 1, bias });
    expect(() => controller.estimate({}, routing)).toThrow(/selectionBias/);
    expect(() => controller.estimate({ selectionBias: f64([0]) }, routing)).toThrow(ShapeError);
    const all = routed({ logits: draws(1, 4), experts: 2, k: 2, bias });
    expect(() => controller.estimate({ selectionBias: bias }, all)).toThrow(
      /k below the 2 experts/,
    );
    expect(() =>
      controller.estimate({ selectionBias: bias }, { ...routing, kind: "soft" } as never),
    ).toThrow(UnsupportedError);
    expect(() => controller.update({ selectionBias: bias }, [])).toThrow(ConfigError);
    expect(() => controller.update({ selectionBias: bias }, [f64([1])])).toThrow(ShapeError);
    expect(() => controller.update({}, [bias])).toThrow(/selectionBias/);
  });
});
