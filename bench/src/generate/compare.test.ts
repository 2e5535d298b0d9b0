import { describe, expect, it } from "vitest";
import { rounded } from "../rows.ts";
import { CONTINUED, compare } from "./compare.ts";
import type { Continuer } from "./ours.ts";

function continuer(rows: readonly (readonly number[])[], tokens: readonly number[]): Continuer {
  return {
    name: "somebody",
    logProbabilities: () =>
      Promise.resolve(rows.map((row) => Float64Array.from(row, (value) => Math.log(value)))),
    // oxlint-disable-next-line require-await -- as the others are
    async *start() {
      yield* tokens;
    },
    dispose: () => Promise.resolve(),
  };
}

const tokens = Array.from({ length: CONTINUED }, (_, index) => index);
const one = continuer(
  [
    [0.5, 0.25, 0.25],
    [0.25, 0.5, 0.25],
  ],
  tokens,
);

describe("compare", () => {
  it("finds nothing between the same", async () => {
    expect(await compare(one, one, [1, 2])).toEqual({
      error: 0,
      kl: 0,
      sameTop: 1,
      sameTokens: CONTINUED,
    });
  });

  it("finds the largest difference, the mean divergence and the first other token", async () => {
    const rows = [
      [0.5, 0.25, 0.25],
      [0.5, 0.25, 0.25],
    ];
    const other = continuer(rows, tokens.with(3, 99));
    expect(await compare(one, other, [1, 2])).toEqual({
      error: rounded(Math.LN2),
      kl: 0.08664,
      sameTop: 0.5,
      sameTokens: 3,
    });
  });

  it("keeps what is no number, and what is missing", async () => {
    const bad = continuer(
      [
        [Number.NaN, 0.5, 0.5],
        [0.25, 0.5, 0.25],
      ],
      tokens,
    );
    expect((await compare(one, bad, [1, 2])).error).toBeNaN();
    expect((await compare(one, continuer([[0.5, 0.5]], tokens), [1, 2])).kl).toBeNaN();
  });
});
