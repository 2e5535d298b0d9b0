import { roundBlocks } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import { at, caseOf, holds, mapped, observed, staysInRow } from "./l3-support.ts";
import { BLOCK, ROUND_OPS, STEPS, stepped } from "./rounded-support.ts";

const roundCase = (
  what: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase => caseOf("L3", `round-blocks/${what}`, { demand, ops: ROUND_OPS, run });

const check = (test: CaseContext, x: HostTensor): Promise<void> =>
  holds(test, { x }, (given) => ({ y: roundBlocks(given.x) }));

/** Whole and half steps, of either sign, beside the 127 that makes the step 2⁻⁴. */
function ties(): HostTensor {
  return generated([4, 2 * BLOCK], "f32", (index) => {
    const place = index % BLOCK;
    if (place === 0) return STEPS * 2 ** -4;
    const steps = place - BLOCK / 2 + (Math.floor(index / BLOCK) % 4);
    return (steps + 0.5) * 2 ** -4;
  });
}

/** The op leaves 127 steps of each block, and what it gave stays as it is when it is rounded again. */
async function twice(test: CaseContext): Promise<void> {
  const x = test.random.normal([9, 3 * BLOCK]);
  const got = await observed(test, { x }, (given) => {
    const once = roundBlocks(given.x);
    return { once, again: roundBlocks(once) };
  });
  const [once, again] = [at(got, "once"), at(got, "again")];
  for (let start = 0; start < x.data.length; start += BLOCK) {
    const [before, after] = [x.data, once.data].map((data) =>
      Math.max(...[...data.subarray(start, start + BLOCK)].map(Math.abs)),
    );
    const step = (before ?? 0) / STEPS;
    for (let place = start; place < start + BLOCK; place++) {
      const gap = Math.abs((again.data[place] ?? Number.NaN) - (once.data[place] ?? 0));
      test.expect(gap < 1e-3 * step, `place ${place} is rounded to another step the second time`);
      const moved = Math.abs((once.data[place] ?? Number.NaN) - (x.data[place] ?? 0));
      test.expect(moved < 0.501 * step, `place ${place} was moved by ${moved / step} steps`);
    }
    test.expect(
      Math.abs((after ?? 0) - (before ?? 0)) < 1e-3 * step,
      `the largest of the block at ${start} is ${after} instead of ${before}`,
    );
  }
}

/** Cases of `roundBlocks`. */
export const roundBlocksCases: readonly ConformanceCase[] = [
  ...[1, 2, 3, 5].map((blocks) =>
    roundCase(
      `blocks-${blocks}`,
      `rows of ${blocks} blocks are rounded to the nearest of 127 steps, each block by its own`,
      async (test) => {
        for (const rows of [1, 7]) await check(test, stepped(test.random, [rows, blocks * BLOCK]));
      },
    ),
  ),
  roundCase("ranks", "a vector, a stack of matrices, no rows and no columns", async (test) => {
    for (const shape of [[64], [2, 3, 96], [0, 32], [4, 0]]) {
      await check(test, stepped(test.random, shape));
    }
  }),
  roundCase("normal", "any numbers are rounded, those near half a step to either side", (test) =>
    check(test, test.random.normal([33, 3 * BLOCK])),
  ),
  // A division that is not rounded correctly may miss a half, so to which side it goes is not asked.
  roundCase("ties", "halves between two steps become one of them", (test) => check(test, ties())),
  roundCase("zeros", "a block of zeros stays so, beside others that are not", (test) =>
    check(
      test,
      mapped(stepped(test.random, [6, 2 * BLOCK]), (value, index) =>
        Math.floor(index / BLOCK) % 3 === 0 ? 0 : value,
      ),
    ),
  ),
  roundCase(
    "one-sided",
    "blocks of negative numbers alone, and of one number beside zeros",
    (test) =>
      check(
        test,
        mapped(stepped(test.random, [4, 2 * BLOCK]), (value, index) => {
          if (Math.floor(index / (2 * BLOCK)) % 2 === 0) return -Math.abs(value);
          return index % BLOCK === 5 ? -3 : 0;
        }),
      ),
  ),
  roundCase("sizes", "tiny and huge blocks have steps of their own", (test) =>
    check(
      test,
      mapped(
        stepped(test.random, [8, 2 * BLOCK]),
        (value, index) => value * 2 ** ((Math.floor(index / BLOCK) % 9) * 20 - 80),
      ),
    ),
  ),
  roundCase(
    "again",
    "what is rounded stays as it is, and nothing moves by more than half a step",
    twice,
  ),
  roundCase("nan-row", "NaN in one row stays in that row", (test) =>
    staysInRow(test, { x: stepped(test.random, [9, 2 * BLOCK]) }, "x", 4, (given) => ({
      y: roundBlocks(given.x),
    })),
  ),
];
