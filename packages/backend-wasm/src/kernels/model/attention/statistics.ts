import type { Body } from "../../../emit/body.ts";
import type { I32 } from "../../../emit/scalars.ts";
import { F32x4 } from "../../../emit/vectors.ts";
import { log4 } from "../../functions/index.ts";
import { PANEL } from "../../products/tile.ts";
import { wordAt } from "../../reduction/lanes.ts";
import type { Pair, ShapeArguments } from "./shape.ts";

/** Panels of so many keys. */
export function panelsOf(keys: I32): I32 {
  return keys.add(PANEL - 1).shrU(3);
}

/** Address of a batch's words of the mask; 0 without one. */
export function maskOf(
  mask: I32,
  { batch }: Pair,
  { capacity }: Pick<ShapeArguments, "capacity">,
): I32 {
  return wordAt(mask, batch.mul(capacity)).select(mask.ne(0), 0);
}

/** What a row's sum is divided by: 1 where it sees no key. */
export function divisor(sum: F32x4): F32x4 {
  return sum.eq(F32x4.const(0)).choose(F32x4.const(1), sum);
}

/** Stores the logarithm of a row's softmax's denominator; 0 where it sees no key. */
export function keepLogarithm(body: Body, to: I32, greatest: F32x4, sum: F32x4): void {
  const logarithm = greatest.add(log4(body, sum));
  const kept = sum.eq(F32x4.const(0)).choose(F32x4.const(0), logarithm);
  body.store(to, kept.lane(0));
}

/** A sum of values as a share; −0 becomes 0, as it is where more keys with the share 0 are added. */
export function shareOf(sum: F32x4, total: F32x4): F32x4 {
  return sum.add(F32x4.const(0)).div(total);
}
