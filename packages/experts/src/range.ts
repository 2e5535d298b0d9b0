import { type Tensor, and, greaterEqual, less } from "@moiety/core";

/** Consecutive ids of experts. */
export interface IdRange {
  readonly start: number;
  readonly count: number;
}

/** `bool`: which ids (i32) lie in a range. */
export function isWithin(ids: Tensor, { start, count }: IdRange): Tensor {
  return and(greaterEqual(ids, start), less(ids, start + count));
}
