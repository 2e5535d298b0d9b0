import type { Body } from "../../emit/body.ts";
import type { F32, I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import { acrossLanes, lanesBelow, storeLanes, wholeVectors } from "../reduction/lanes.ts";

/** Elements of one task where rows are independent of each other. */
const ROW_GRAIN = 16_384;
/** The lowest finite number, where a greatest one is looked for. */
export const LOWEST = -3.4028234663852886e38;
/** Vectors that are added side by side, so that no addition waits for the one before. */
const LANES_OF_SUMS = 4;

/** Rows of one task: as many as have {@link ROW_GRAIN} elements. */
export function rowsPerTask(width: number): number {
  return Math.max(1, Math.floor(ROW_GRAIN / Math.max(width, 1)));
}

/** Visits the rows of one task. */
export function eachRow(
  body: Body,
  task: I32,
  { rows, perTask }: { readonly rows: I32; readonly perTask: I32 },
  visit: (row: I32) => void,
): void {
  const from = body.let(task.mul(perTask));
  const to = body.let(from.add(perTask));
  body.set(to, to.minU(rows));
  body.for(from, to, 1, visit);
}

/**
 * Walks a row four elements at a time. The last time there may be fewer: then `count`, below 4, is
 * given, and what is read of the other lanes does not belong to the row.
 */
export function eachVector(
  body: Body,
  width: I32,
  visit: (index: I32, count: I32 | undefined) => void,
): void {
  const whole = body.let(wholeVectors(width));
  body.for(0, whole, 4, (index) => visit(index, undefined));
  body.if(whole.ltU(width), () => visit(whole, body.let(width.sub(whole))));
}

/** `vector`, with `other` in the lanes from `count` on. */
function firstLanes(vector: F32x4, count: I32 | undefined, other: number): F32x4 {
  return count === undefined ? vector : lanesBelow(count).choose(vector, F32x4.const(other));
}

/** Stores a vector, or its first lanes where there is a `count` of them. */
export function storeFirst(body: Body, address: I32, vector: F32x4, count: I32 | undefined): void {
  if (count === undefined) body.store(address, vector);
  else storeLanes(body, address, vector, count);
}

/**
 * The sum of a row's terms, in every lane. `term` gives those of four elements; the order of the
 * additions follows from the width alone.
 */
export function rowSum(
  body: Body,
  width: I32,
  term: (index: I32, count: I32 | undefined) => F32x4,
): F32x4 {
  const sums = Array.from({ length: LANES_OF_SUMS }, () => body.let(F32x4.const(0)));
  const [first = missing(), second = missing(), third = missing(), fourth = missing()] = sums;
  const step = 4 * LANES_OF_SUMS;
  const blocks = body.let(width.and(-step));
  body.for(0, blocks, step, (index) => {
    for (const [lane, sum] of sums.entries()) {
      body.set(sum, sum.add(term(index.add(lane * 4), undefined)));
    }
  });
  const rest = body.let(width.sub(blocks));
  eachVector(body, rest, (index, count) => {
    body.set(first, first.add(firstLanes(term(index.add(blocks), count), count, 0)));
  });
  return acrossLanes(body, body.let(first.add(second).add(third.add(fourth))), F32x4, (a, b) =>
    a.add(b),
  );
}

/** A number in every lane, kept in a local. */
export function splat(body: Body, value: F32): F32x4 {
  return body.let(F32x4.splat(value));
}

function missing(): never {
  throw new TypeError("a sum is missing");
}
