import type { Floats, Words } from "../../../routine.ts";
import type { Body } from "../../../emit/body.ts";
import { F32, I32 } from "../../../emit/scalars.ts";
import { type Pair, type RowPlace, SHAPE_PARAMETERS, pairOf, placeOf } from "./shape.ts";
import { maskOf } from "./statistics.ts";

/** Rows of a pair that go through its keys and values together. */
export const ROWS_AT_ONCE = 8;
/** Panels of keys at once, so that a row's products have more sums on their way. */
export const PANELS_AT_ONCE = 2;
/** Bytes of a vector. */
export const VECTOR = 16;

/** Parameters of the routine. */
export const ROW_PARAMETERS: typeof SHAPE_PARAMETERS &
  Words<
    | "y"
    | "kept"
    | "q"
    | "k"
    | "v"
    | "mask"
    | "sinks"
    | "scratch"
    | "scratchBytes"
    | "scoreBytes"
    | "sumBytes"
    | "rowsAtOnce"
    | "perTask"
  > &
  Floats<"scale"> = {
  ...SHAPE_PARAMETERS,
  y: I32,
  kept: I32,
  scale: F32,
  q: I32,
  k: I32,
  v: I32,
  mask: I32,
  sinks: I32,
  scratch: I32,
  scratchBytes: I32,
  /** Bytes of one row's scores. */
  scoreBytes: I32,
  /** Bytes of one row's sums of values. */
  sumBytes: I32,
  /** Rows of a pair that go together at most. */
  rowsAtOnce: I32,
  /** Pairs of a task. */
  perTask: I32,
};

/** The same inside the routine. */
export type RowArguments = {
  readonly [Name in Exclude<keyof typeof ROW_PARAMETERS, "scale">]: I32;
} & { readonly scale: F32 };

/** The same rows of some pairs, which lie one after the other. */
export interface Batch {
  readonly firstPair: I32;
  readonly pairs: I32;
  readonly first: I32;
  /** Rows of each pair. */
  readonly count: I32;
  /** The first panel that one of them sees. */
  readonly firstPanel: I32;
  /** Panels from there to the last one that one of them sees. */
  readonly panels: I32;
  /** Scores and sums of all rows: those of a pair, then those of the next. */
  readonly scores: I32;
  readonly sums: I32;
  /** Where panels of keys are packed. */
  readonly packed: I32;
}

/** The rows of one pair of a batch. */
export interface PairRows {
  readonly pair: Pair;
  /** Address of the pair's words of the mask; 0 without one. */
  readonly mask: I32;
  readonly first: I32;
  readonly count: I32;
  /** Addresses of the first row's scores and sums. */
  readonly scores: I32;
  readonly sums: I32;
}

/** Visits the pairs of a batch. */
export function eachPair(
  body: Body,
  { firstPair, pairs, first, count, scores, sums }: Batch,
  args: RowArguments,
  visit: (rows: PairRows) => void,
): void {
  body.for(0, pairs, 1, (number) => {
    const pair = pairOf(body, body.let(firstPair.add(number)), args);
    const before = body.let(number.mul(count));
    visit({
      pair,
      mask: body.let(maskOf(args.mask, pair, args)),
      first,
      count,
      scores: body.let(scores.add(before.mul(args.scoreBytes))),
      sums: body.let(sums.add(before.mul(args.sumBytes))),
    });
  });
}

/** Visits the rows of a pair with the addresses of their scores and sums. */
export function eachRow(
  body: Body,
  { pair, first, count, scores, sums }: PairRows,
  args: RowArguments,
  visit: (place: RowPlace, memory: { readonly scores: I32; readonly sums: I32 }) => void,
): void {
  body.for(0, count, 1, (index) =>
    visit(placeOf(body, pair, body.let(first.add(index)), args), {
      scores: body.let(scores.add(index.mul(args.scoreBytes))),
      sums: body.let(sums.add(index.mul(args.sumBytes))),
    }),
  );
}
