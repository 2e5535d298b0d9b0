import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  type Backend,
  type Tensor,
  add,
  gatherRows,
  mapTree,
  mixExperts,
  mul,
  randomKey,
} from "@moiety/core";
import { glu } from "./glu.ts";
import { linearExperts } from "./linear.ts";
import { mixedExperts } from "./mixed.ts";
import { mlp } from "./mlp.ts";
import { scaledExperts } from "./scaled.ts";
import {
  type HandRouting,
  distance,
  drawRouting,
  matrixOf,
  mixNaively,
  random,
  routingOf,
  rowsOf,
} from "./testing/routing.ts";
import { times } from "./testing/reference.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const WIDTH = 3;
const sizes = {
  hiddenSize: WIDTH,
  intermediateSize: 4,
  activation: "silu",
  initializerRange: 1,
} as const;
const seeds = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 30 }),
  tokens: fc.integer({ min: 1, max: 9 }),
  experts: fc.integer({ min: 2, max: 6 }),
});
const runs = { numRuns: 12, seed: 7 };

/** Every expert chosen by every token, none dropped. */
function everyone(tokens: number, experts: number, weights: number[][]): HandRouting {
  const all = Array.from({ length: experts }, (_, id) => id);
  return { experts, choices: Array.from({ length: tokens }, () => all), weights };
}

describe("k = E", () => {
  it("is the dense mixture", async () => {
    await fc.assert(
      fc.asyncProperty(seeds, async ({ seed, tokens, experts }) => {
        const bank = glu({ ...sizes, experts });
        const { params } = bank.init(randomKey(seed), { backend, dtype: "f64" });
        const x = random(backend, seed + 1, [tokens, WIDTH]);
        const weights = random(backend, seed + 2, [tokens, experts]);
        const found = mixExperts(
          bank,
          params,
          x,
          routingOf(backend, everyone(tokens, experts, await rowsOf(weights))),
        );
        // Each expert alone on all tokens, then their weighted sum.
        const table = await rowsOf(weights);
        let dense: Tensor | undefined;
        for (let id = 0; id < experts; id++) {
          const alone: HandRouting = {
            experts,
            choices: table.map(() => [id]),
            weights: table.map(() => [1]),
          };
          const share = backend.tensor(Float64Array.from(table.map((row) => row[id] ?? 0)), {
            shape: [tokens, 1],
          });
          const part = mul(mixExperts(bank, params, x, routingOf(backend, alone)), share);
          dense = dense ? add(dense, part) : part;
        }
        if (!dense) throw new Error("no experts");
        expect(distance(await rowsOf(found), await rowsOf(dense))).toBeLessThan(1e-12);
      }),
      runs,
    );
  });
});

describe("relabelling experts", () => {
  it("changes nothing when routing and weights go along", async () => {
    await fc.assert(
      fc.asyncProperty(seeds, async ({ seed, tokens, experts }) => {
        const bank = scaledExperts(mlp({ ...sizes, experts, bias: true }));
        const { params } = bank.init(randomKey(seed), { backend, dtype: "f64" });
        const drawn = mapTree(params, (leaf) =>
          random(backend, seed + 5, (leaf as Tensor).shape),
        ) as typeof params;
        const hand = drawRouting(seed, tokens, Math.min(2, experts), experts);
        const x = random(backend, seed + 1, [tokens, WIDTH]);
        const before = await rowsOf(mixExperts(bank, drawn, x, routingOf(backend, hand)));
        // Expert e becomes e + 1; the order of choices stays, so the sums are the same bits.
        const next = (id: number): number => (id === experts ? id : (id + 1) % experts);
        const order = backend.tensor(
          Int32Array.from({ length: experts }, (_, id) => (id + experts - 1) % experts),
        );
        const moved = mapTree(drawn, (leaf) => gatherRows(leaf as Tensor, order)) as typeof params;
        const relabelled = { ...hand, choices: hand.choices.map((row) => row.map(next)) };
        const after = await rowsOf(mixExperts(bank, moved, x, routingOf(backend, relabelled)));
        expect(after).toEqual(before);
      }),
      runs,
    );
  });
});

describe("mixedExperts", () => {
  it("of the parts of one bank is that bank, to the bit", async () => {
    await fc.assert(
      fc.asyncProperty(seeds, async ({ seed, tokens, experts }) => {
        const cut = 1 + (seed % (experts - 1));
        const whole = linearExperts({
          experts,
          hiddenSize: WIDTH,
          bias: true,
          initializerRange: 1,
        });
        const { params } = whole.init(randomKey(seed), { backend, dtype: "f64" });
        const bias = random(backend, seed + 3, [experts, WIDTH]);
        const part = (start: number, count: number) => {
          const ids = backend.tensor(Int32Array.from({ length: count }, (_, id) => start + id));
          return { weight: gatherRows(params.weight, ids), bias: gatherRows(bias, ids) };
        };
        const mixed = mixedExperts([
          linearExperts({ experts: cut, hiddenSize: WIDTH, bias: true }),
          linearExperts({ experts: experts - cut, hiddenSize: WIDTH, bias: true }),
        ]);
        const routing = routingOf(backend, drawRouting(seed, tokens, 2, experts));
        const x = random(backend, seed + 1, [tokens, WIDTH]);
        const parts = [part(0, cut), part(cut, experts - cut)] as const;
        const found = await rowsOf(mixExperts(mixed, [...parts], x, routing));
        const wanted = mixExperts(whole, { weight: params.weight, bias }, x, routing);
        expect(found).toEqual(await rowsOf(wanted));
      }),
      runs,
    );
  });

  it("gives each id its kind and size", async () => {
    const bank = mixedExperts([
      mlp({ ...sizes, experts: 2, activation: "relu", intermediateSize: 6 }),
      linearExperts({ experts: 3, hiddenSize: WIDTH, initializerRange: 1 }),
      mlp({ ...sizes, experts: 1, activation: "reluSquared", intermediateSize: 2 }),
    ]);
    expect(bank.experts).toBe(6);
    const { params } = bank.init(randomKey(1), { backend, dtype: "f64" });
    const [wide, linear, narrow] = params;
    const hand = drawRouting(4, 12, 3, 6);
    for (let id = 0; id < 6; id++) expect(hand.choices.flat()).toContain(id);
    const matrices = async (tensor: Tensor): Promise<number[][]> =>
      Promise.all(Array.from({ length: tensor.shape[0] ?? 0 }, (_, id) => matrixOf(tensor, id)));
    const [wideUp, wideDown, lines, up, down] = await Promise.all(
      [wide.up, wide.down, linear.weight, narrow.up, narrow.down].map(matrices),
    );
    const x = random(backend, 2, [12, WIDTH]);
    const expected = mixNaively(hand, await rowsOf(x), WIDTH, (id, input) => {
      if (id >= 2 && id < 5) return times(lines?.[id - 2] ?? [], input);
      const [first, second] = id < 2 ? [wideUp?.[id], wideDown?.[id]] : [up?.[0], down?.[0]];
      const positive = times(first ?? [], input).map((value) => Math.max(value, 0));
      return times(second ?? [], id < 2 ? positive : positive.map((value) => value ** 2));
    });
    const found = await rowsOf(mixExperts(bank, params, x, routingOf(backend, hand)));
    expect(distance(found, expected)).toBeLessThan(1e-12);
  });

  it("names what does not fit", () => {
    const bank = linearExperts({ experts: 2, hiddenSize: WIDTH });
    const other = linearExperts({ experts: 2, hiddenSize: WIDTH + 1 });
    expect(() => mixedExperts([])).toThrow(expect.objectContaining({ key: "banks" }) as Error);
    expect(() => mixedExperts([bank, other])).toThrow(/bank 1 is 4 → 4 wide/u);
    const loading = { ...bank, prepare: () => Promise.resolve() };
    expect(() => mixedExperts([bank, loading])).toThrow(/has prepare/u);
    const remote = { ...bank, remote: () => Promise.reject(new Error("not here")) };
    expect(() => mixedExperts([remote])).toThrow(/has remote/u);
  });
});
