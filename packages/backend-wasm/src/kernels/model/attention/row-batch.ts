import type { Floats, Words } from "../../../routine.ts";
import type { Body } from "../../../emit/body.ts";
import { F32, I32 } from "../../../emit/scalars.ts";
import { type Pair, type RowPlace, SHAPE_PARAMETERS, placeOf } from "./shape.ts";

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
    | "units"
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
  units: I32,
  perTask: I32,
};

/** The same inside the routine. */
export type RowArguments = {
  readonly [Name in Exclude<keyof typeof ROW_PARAMETERS, "scale">]: I32;
} & { readonly scale: F32 };

/** Some rows of a pair. */
export interface Batch {
  readonly pair: Pair;
  readonly first: I32;
  readonly count: I32;
  /** The first panel that one of them sees. */
  readonly firstPanel: I32;
  /** Panels from there to the last one that one of them sees. */
  readonly panels: I32;
  /** Address of the batch's words of the mask; 0 without one. */
  readonly mask: I32;
  readonly scores: I32;
  readonly sums: I32;
  /** Where panels of keys are packed. */
  readonly packed: I32;
}

/** Visits the rows of a batch. */
export function eachRow(
  body: Body,
  { pair, first, count }: Batch,
  args: RowArguments,
  visit: (place: RowPlace, index: I32) => void,
): void {
  body.for(0, count, 1, (index) =>
    visit(placeOf(body, pair, body.let(first.add(index)), args), index),
  );
}
