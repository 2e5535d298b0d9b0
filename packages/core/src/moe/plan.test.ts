import create from "@moiety/backend-cpu";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConfigError } from "../errors.ts";
import { hostNormal, hostUniform, randomKey } from "../random.ts";
import type { Tensor } from "../tensor.ts";
import { type Plan, combine, dispatch, gather, loadOf, plan, spread } from "./plan.ts";
import type { ExpertChoice, Soft, TokenChoice } from "./routing.ts";

const backend = await create();
const WIDTH = 3;
const f64 = (data: readonly number[], shape: readonly number[]): Tensor =>
  backend.tensor([...data], { shape, dtype: "f64" });
const i32 = (data: readonly number[], shape: readonly number[]): Tensor =>
  backend.tensor(Int32Array.from(data), { shape });
const values = async (tensor: Tensor | undefined): Promise<number[]> =>
  tensor ? [...(await tensor.read())] : [];
const draws = (seed: number, count: number): number[] => [...hostNormal(randomKey(seed), count)];

function tokenChoice(chosen: readonly number[][], experts: number, mask?: Tensor): TokenChoice {
  const tokens = chosen.length;
  const k = chosen[0]?.length ?? 1;
  const logits = f64(new Array(tokens * experts).fill(0), [tokens, experts]);
  const indices = i32(chosen.flat(), [tokens, k]);
  const outputWeights = f64(new Array(tokens * k).fill(1), [tokens, k]);
  return {
    kind: "token-choice",
    experts,
    logits,
    scores: logits,
    indices,
    selected: indices,
    outputWeights,
    mask,
  };
}

/** Choices of `tokens` tokens among `experts`, now and then none (`experts`). */
const choices: fc.Arbitrary<{ experts: number; k: number; chosen: number[][]; seed: number }> = fc
  .record({
    experts: fc.integer({ min: 1, max: 5 }),
    tokens: fc.integer({ min: 1, max: 8 }),
    k: fc.integer({ min: 1, max: 3 }),
    seed: fc.integer({ min: 0, max: 1e6 }),
  })
  .map(({ experts, tokens, k, seed }) => {
    const random = hostUniform(randomKey(seed), tokens * k);
    const chosen = Array.from({ length: tokens }, (_, token) =>
      Array.from({ length: k }, (_unused, j) =>
        Math.floor((random[token * k + j] as number) * (experts + 1)),
      ),
    );
    return { experts, k, chosen, seed };
  });

describe("plan of a token-choice routing", () => {
  it("sorts assignments by expert, stably, and leaves out those without one", async () => {
    const sorted = plan(
      tokenChoice(
        [
          [2, 0],
          [3, 2],
          [0, 1],
        ],
        3,
      ),
    );
    expect(await values(sorted.order)).toEqual([1, 4, 5, 0, 3, 6]);
    expect(await values(sorted.offsets)).toEqual([0, 2, 3, 5]);
    expect(await values(sorted.group)).toEqual([0, 0, 1, 2, 2, 3]);
    expect(await values(sorted.inverse)).toEqual([3, 0, 6, 4, 1, 2]);
    expect(await values(sorted.tokenOfRow)).toEqual([0, 2, 2, 0, 1, 3]);
  });

  it("dispatches, spreads and combines as plain loops do", async () => {
    await fc.assert(
      fc.asyncProperty(choices, async ({ experts, k, chosen, seed }) => {
        const tokens = chosen.length;
        const x = draws(seed + 1, tokens * WIDTH);
        const weights = draws(seed + 2, tokens * k);
        const inputWeights = draws(seed + 3, tokens * k);
        const sorted = plan(tokenChoice(chosen, experts));
        const rows = dispatch(f64(x, [tokens, WIDTH]), sorted, f64(inputWeights, [tokens, k]));
        const gathered = await values(gather(rows));
        const live = chosen
          .flatMap((list, token) => list.map((expert, j) => ({ expert, token, at: token * k + j })))
          .filter(({ expert }) => expert < experts)
          .sort((a, b) => a.expert - b.expert || a.at - b.at);
        const wanted = live.flatMap(({ token, at }) =>
          x
            .slice(token * WIDTH, token * WIDTH + WIDTH)
            .map((v) => v * (inputWeights[at] as number)),
        );
        expect(gathered.slice(0, wanted.length)).toEqual(wanted);
        expect(gathered.slice(wanted.length).every((value) => value === 0)).toBe(true);

        // What stands in rows that are not live must not matter.
        const outputs = draws(seed + 4, tokens * k * WIDTH).map((value, at) =>
          at < live.length * WIDTH ? value : Number.NaN,
        );
        const outputRows = f64(outputs, [tokens * k, WIDTH]);
        const spreadOut = new Array<number>(tokens * k * WIDTH).fill(0);
        for (const [row, { at }] of live.entries()) {
          for (let i = 0; i < WIDTH; i++)
            spreadOut[at * WIDTH + i] = outputs[row * WIDTH + i] as number;
        }
        expect(await values(spread(outputRows, sorted))).toEqual(spreadOut);
        const combined = await values(combine(outputRows, sorted, f64(weights, [tokens, k])));
        for (let token = 0; token < tokens; token++) {
          for (let i = 0; i < WIDTH; i++) {
            let sum = 0;
            for (let j = 0; j < k; j++) {
              const at = token * k + j;
              sum += (spreadOut[at * WIDTH + i] as number) * (weights[at] as number);
            }
            expect(combined[token * WIDTH + i]).toBeCloseTo(sum, 12);
          }
        }
      }),
      { seed: 21, numRuns: 60 },
    );
  });

  it("takes no tokens at all", async () => {
    const sorted = plan({ ...tokenChoice([], 3), indices: i32([], [0, 2]) });
    const rows = dispatch(f64([], [0, WIDTH]), sorted);
    expect(gather(rows).shape).toEqual([0, WIDTH]);
    expect(combine(f64([], [0, WIDTH]), sorted, f64([], [0, 2])).shape).toEqual([0, WIDTH]);
    expect(await values(sorted.offsets)).toEqual([0, 0, 0, 0]);
  });
});

describe("plan of an expert-choice routing", () => {
  // Two groups of two tokens; expert 1 of the second group leaves a place empty.
  const routing: ExpertChoice = {
    kind: "expert-choice",
    experts: 2,
    logits: f64(new Array(8).fill(0), [4, 2]),
    scores: f64(new Array(8).fill(0), [4, 2]),
    tokens: i32([1, 0, 0, 1, 3, 2, 3, 4], [2, 2, 2]),
    weights: f64([1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2]),
  };

  it("has the rows of each expert together, group by group", async () => {
    const sorted: Plan = plan(routing);
    expect(await values(sorted.tokenOfRow)).toEqual([1, 0, 3, 2, 0, 1, 3, 4]);
    expect(await values(sorted.offsets)).toEqual([0, 4, 8]);
    expect(await values(sorted.group)).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
    const rows = dispatch(f64([10, 20, 30, 40], [4, 1]), sorted);
    expect(await values(gather(rows))).toEqual([20, 10, 40, 30, 10, 20, 40, 0]);
  });

  it("adds by ascending expert, and skips empty places", async () => {
    const sorted = plan(routing);
    const outputs = f64([1, 10, 100, 1000, 2, 20, 200, Number.NaN], [8, 1]);
    // Row weights, by expert: 1, 2, 5, 6 and 3, 4, 7, 8.
    const combined = await values(combine(outputs, sorted, routing.weights));
    expect(combined).toEqual([10 * 2 + 2 * 3, 1 + 20 * 4, 1000 * 6, 100 * 5 + 200 * 7]);
    expect(() => spread(outputs, sorted)).toThrow(ConfigError);
  });

  it("counts the places that are taken", async () => {
    expect(await values(loadOf(routing))).toEqual([4, 3]);
  });
});

describe("loadOf", () => {
  it("counts what was selected, padding left out, and sums to k for each token", async () => {
    await fc.assert(
      fc.asyncProperty(choices, async ({ experts, k, chosen }) => {
        const tokens = chosen.length;
        const padded = chosen.map((_, token) => token % 3 !== 1);
        const mask = backend.tensor(padded, { shape: [tokens], dtype: "bool" });
        const wanted = new Array<number>(experts).fill(0);
        chosen.forEach((list, token) => {
          for (const expert of list) if (padded[token] && expert < experts) wanted[expert]!++;
        });
        expect(await values(loadOf(tokenChoice(chosen, experts, mask)))).toEqual(wanted);
        const full = chosen.map((list) => list.map((expert) => expert % experts));
        const load = await values(loadOf(tokenChoice(full, experts)));
        expect(load.reduce((a, b) => a + b)).toBe(tokens * k);
      }),
      { seed: 22, numRuns: 40 },
    );
  });

  it("reads what was selected before dropping", async () => {
    const routing = { ...tokenChoice([[0], [0], [1]], 2), indices: i32([0, 2, 1], [3, 1]) };
    expect(await values(loadOf(routing))).toEqual([2, 1]);
  });

  it("is even for soft routing", async () => {
    const logits = f64(new Array(8).fill(0), [4, 2]);
    const slots = f64(new Array(4 * 6).fill(0), [2, 2, 6]);
    const routing: Soft = {
      kind: "soft",
      experts: 2,
      logits,
      scores: logits,
      slots: 3,
      dispatch: slots,
      combine: slots,
    };
    expect(await values(loadOf(routing))).toEqual([6, 6]);
  });
});
