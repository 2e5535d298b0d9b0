import type { Body } from "../../emit/body.ts";
import type { I32 } from "../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";
import { expNormal4 } from "../functions/index.ts";
import { acrossLanes, padLanes, storeLanes, wordAt } from "./lanes.ts";

/** The lowest finite float: what a masked element counts as where the largest is looked for. */
const LOWEST = -3.4028234663852886e38;
const MINUS_INFINITY = Number.NEGATIVE_INFINITY;

/** Elements whose powers are added before they go into the sum, which long rows are too long for. */
const BLOCK = 256;

/** A row of floats. */
export interface SoftmaxRow {
  readonly from: I32;
  /** Its length. */
  readonly count: I32;
  /** Where a row of bools is that hides elements. */
  readonly mask?: I32 | undefined;
}

/** Every four elements of a row: the last lanes behind its end, and those that are hidden, are `other`. */
function eachVector(
  body: Body,
  { from, count, mask }: SoftmaxRow,
  hidden: number,
  visit: (x: F32x4, index: I32, left: I32, shown: I32x4 | undefined) => void,
): void {
  body.for(0, count, 4, (index) => {
    const left = body.let(count.sub(index));
    const x = body.let(F32x4.load(wordAt(from, index)));
    const shown = mask && body.let(I32x4.load(wordAt(mask, index)).ne(I32x4.const(0)));
    if (shown) body.set(x, shown.choose(x, F32x4.const(hidden)));
    visit(x, index, left, shown);
  });
}

/** The largest element that is no NaN, in every lane. */
export function largestOf(body: Body, row: SoftmaxRow): F32x4 {
  const largest = body.let(F32x4.const(MINUS_INFINITY));
  eachVector(body, row, LOWEST, (x, _, left) => {
    padLanes(body, x, left, F32x4.const(MINUS_INFINITY), F32x4);
    body.set(largest, largest.pmax(x));
  });
  return acrossLanes(body, largest, F32x4, (a, b) => a.pmax(b));
}

/**
 * The sum of e^(x − largest), in every lane; `put` gets every four powers, 0 where they do not count.
 * One order of addition for each length.
 */
export function sumOfPowers(
  body: Body,
  row: SoftmaxRow,
  largest: F32x4,
  put?: (power: F32x4, index: I32, left: I32) => void,
): F32x4 {
  const sum = body.let(F32x4.const(0));
  const block = body.let(F32x4.const(0));
  eachVector(body, row, MINUS_INFINITY, (x, index, left, shown) => {
    const power = body.let(expNormal4(body, x.sub(largest)));
    if (shown) body.set(power, shown.choose(power, F32x4.const(0)));
    padLanes(body, power, left, F32x4.const(0), F32x4);
    put?.(power, index, left);
    body.set(block, block.add(power));
    body.if(index.and(BLOCK - 1).eq(BLOCK - 4), () => {
      body.set(sum, sum.add(block));
      body.set(block, F32x4.const(0));
    });
  });
  body.set(sum, sum.add(block));
  return acrossLanes(body, sum, F32x4, (a, b) => a.add(b));
}

/** The softmax of a row; `to` may be `from`. */
export function softmaxRow(body: Body, row: SoftmaxRow, to: I32): void {
  const largest = largestOf(body, row);
  const sum = sumOfPowers(body, row, largest, (power, index, left) => {
    storeLanes(body, wordAt(to, index), power, left);
  });
  // A row of which nothing counts is all zeros.
  if (row.mask) body.set(sum, sum.eq(F32x4.const(0)).choose(F32x4.const(1), sum));
  body.for(0, row.count, 4, (index) => {
    const y = body.let(F32x4.load(wordAt(to, index)).div(sum));
    storeLanes(body, wordAt(to, index), y, row.count.sub(index));
  });
}
