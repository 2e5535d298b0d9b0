import type { Body } from "../../../emit/body.ts";
import type { I32 } from "../../../emit/scalars.ts";
import { F32x4 } from "../../../emit/vectors.ts";
import { log4 } from "../../functions/index.ts";
import { PANEL } from "../../products/tile.ts";
import { wordAt } from "../../reduction/lanes.ts";
import { LOWEST } from "../rows.ts";
import type { Pair, ShapeArguments } from "./shape.ts";

/** Panels of so many keys. */
export function panelsOf(keys: I32): I32 {
  return keys.add(PANEL - 1).shrU(Math.log2(PANEL));
}

/** Address of a batch's words of the mask; 0 without one. */
export function maskOf(
  mask: I32,
  { batch }: Pair,
  { capacity }: Pick<ShapeArguments, "capacity">,
): I32 {
  return wordAt(mask, batch.mul(capacity)).select(mask.ne(0), 0);
}

/** The panel in which a key lies. */
export function panelOf(key: I32): I32 {
  return key.shrU(Math.log2(PANEL));
}

/** A head's sink in every lane of a local; where there are none, a number whose power is always 0. */
export function sinkOf(body: Body, sinks: I32, head: I32): F32x4 {
  const sink = body.let(F32x4.const(LOWEST));
  body.if(sinks, () => body.set(sink, F32x4.loadSplat(wordAt(sinks, head))));
  return sink;
}

/** What a row's sum is divided by: 1 where it sees neither a key nor a sink. */
export function divisor(sum: F32x4): F32x4 {
  return sum.eq(F32x4.const(0)).choose(F32x4.const(1), sum);
}

/** Stores the logarithm of a row's softmax's denominator; 0 where it sees neither. */
export function keepLogarithm(body: Body, to: I32, greatest: F32x4, sum: F32x4): void {
  const logarithm = greatest.add(log4(body, sum));
  const kept = sum.eq(F32x4.const(0)).choose(F32x4.const(0), logarithm);
  body.store(to, kept.lane(0));
}

/** A sum of values as a share; −0 becomes 0, as it is where more keys with the share 0 are added. */
export function shareOf(sum: F32x4, total: F32x4): F32x4 {
  return sum.add(F32x4.const(0)).div(total);
}
