import {
  ConfigError,
  DTypeError,
  ShapeError,
  type Tensor,
  loadOf,
  routeTokens,
} from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { biasController } from "./index.ts";
import { backend, f64, values } from "./testing/routings.ts";

const load = (counts: readonly number[]): Tensor => backend.tensor(Int32Array.from(counts));

describe("biasController", () => {
  it("moves each bias by u towards the mean load, and not at all on it", async () => {
    const { update } = biasController({ rate: 0.001 });
    const { selectionBias } = update({ selectionBias: f64([0.5, 0, -0.5]) }, load([1, 2, 3]));
    const found = await values(selectionBias);
    [0.501, 0, -0.501].forEach((wanted, at) => expect(found[at]).toBeCloseTo(wanted, 12));
  });

  it("compares with the mean exactly, up to the largest counts", async () => {
    const { update } = biasController({ rate: 1 });
    const mean = 2 ** 28 + 1;
    const counts = [mean, mean - 1, mean + 1];
    const after = update({ selectionBias: backend.tensor([0, 0, 0]) }, load(counts));
    expect(await values(after.selectionBias)).toEqual([0, 1, -1]);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(50), { minLength: 1, maxLength: 9 }), async (list) => {
        const average = list.reduce((a, b) => a + b) / list.length;
        const moved = update({ selectionBias: f64(list.map(() => 0)) }, load(list));
        // Differences of eighths and ninths are far above float64's rounding.
        const wanted = list.map((c) => (Math.abs(average - c) < 1e-9 ? 0 : Math.sign(average - c)));
        expect(await values(moved.selectionBias)).toEqual(wanted);
      }),
      { seed: 9, numRuns: 60 },
    );
  });

  it("keeps the mean of the biases where it is centered", async () => {
    const counts = load([9, 1, 1, 1]);
    const drifting = biasController({ rate: 0.1 }).update(
      { selectionBias: f64([0, 0, 0, 0]) },
      counts,
    );
    expect(await values(drifting.selectionBias)).toEqual([-0.1, 0.1, 0.1, 0.1]);
    const { update } = biasController({ rate: 0.1, centered: true });
    const found = await values(update({ selectionBias: f64([0, 0, 0, 0]) }, counts).selectionBias);
    [-0.15, 0.05, 0.05, 0.05].forEach((wanted, at) => expect(found[at]).toBeCloseTo(wanted, 12));
  });

  it("moves each bias towards its share of a target", async () => {
    const target = [0.1, 0.2, 0.3, 0.4];
    const { update } = biasController({ rate: 1, target });
    const bias = f64([0, 0, 0, 0]);
    const after = async (counts: readonly number[]): Promise<number[]> =>
      values(update({ selectionBias: bias }, load(counts)).selectionBias);
    expect(await after([2, 2, 2, 4])).toEqual([-1, 0, 1, 0]);
    expect(await after([5, 0, 0, 5])).toEqual([-1, 1, 1, -1]);
    const uneven = biasController({ rate: 1, target: [0.5, 0.5] });
    expect(() => uneven.update({ selectionBias: bias }, load([1, 1, 1, 1]))).toThrow(/2 shares/);
    expect(() => biasController({ rate: 1, target: [0.5, 0.6] })).toThrow(ConfigError);
  });

  it("keeps the rest of the state, changes no input, and leaves nothing behind", async () => {
    const state = { selectionBias: f64([0, 0]), lambda: f64([7]) };
    const counts = load([2, 0]);
    const before = backend.statistics().liveTensors;
    const next = biasController({ rate: 1 }).update(state, counts);
    expect(backend.statistics().liveTensors).toBe(before + 1);
    expect(next.lambda).toBe(state.lambda);
    expect(await values(state.selectionBias)).toEqual([0, 0]);
    expect(await values(next.selectionBias)).toEqual([-1, 1]);
    expect(await values(counts)).toEqual([2, 0]);
  });

  it("evens out a router that prefers one expert", async () => {
    const { update } = biasController({ rate: 0.05 });
    const tokens = 64;
    const logits = f64(
      Array.from({ length: tokens * 4 }, (_, at) => Math.sin(at * 1.7) + (at % 4 === 0 ? 2 : 0)),
      [tokens, 4],
    );
    const spec = { experts: 4, topK: 1, score: "sigmoid", bias: true } as const;
    let state: { selectionBias: Tensor } = { selectionBias: f64([0, 0, 0, 0]) };
    const loads: number[][] = [];
    for (let step = 0; step < 60; step++) {
      const counts = loadOf(routeTokens(spec, { logits, bias: state.selectionBias }));
      loads.push(await values(counts));
      state = update(state, counts);
    }
    const busiest = (list: number[] | undefined): number => Math.max(...(list ?? []));
    expect(busiest(loads[0])).toBeGreaterThan(48);
    expect(busiest(loads.at(-1))).toBeLessThan(24);
  });

  it("refuses bad input by name", () => {
    for (const rate of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => biasController({ rate })).toThrow(ConfigError);
    }
    const { update } = biasController({ rate: 1 });
    expect(() => update({}, load([1]))).toThrow(/selectionBias/);
    expect(() => update({ selectionBias: f64([0, 0]) }, load([1]))).toThrow(ShapeError);
    expect(() => update({ selectionBias: f64([0]) }, f64([1]))).toThrow(DTypeError);
  });
});
