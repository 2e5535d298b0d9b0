/** Precision in which a case is run. */
export type Precision = "f64" | "f32";

/** How far a number may be off, from the largest |reference| in its row and in the whole case. */
export type Tolerance = (rowLargest: number, caseLargest: number) => number;

/** A row is never held to less than this part of the largest number in its case. */
const FLOOR = 1e-2;

/** float64: 1e-10 of the row, or of the floor. References below it are rounding noise themselves. */
export function float64Tolerance(rowLargest: number, caseLargest: number): number {
  return 1e-10 * Math.max(rowLargest, FLOOR * caseLargest);
}

/** Part of the largest number in its row above which the kit takes a bound for useless. */
const USELESS = 0.1;

/** Whether a bound says nothing of a number, from the largest |reference| in its row and its case. */
export function isUseless(bound: number, rowLargest: number, caseLargest: number): boolean {
  return !(bound <= USELESS * Math.max(rowLargest, FLOOR * caseLargest));
}

/** Half the distance of 1 from the next float32. */
const UNIT = 2 ** -24;

/**
 * float32 where the conformance kit's bounds say nothing, from the lengths of the sums behind a
 * number. A sum of n products in any order errs by at
 * most `2·√n·u·S` in practice, S the sum of the absolute products, and S is at most about √n/2 times
 * the largest number in the row: together `n·u·row`. Errors of sums that feed each other add up, and
 * get a factor of 2 for what lies between (activations, softmax, divisions), which counts as a sum
 * of 8.
 */
export function float32Tolerance(lengths: readonly number[]): Tolerance {
  const relative = 2 * UNIT * lengths.reduce((total, length) => total + length, 8);
  return (rowLargest, caseLargest) => relative * Math.max(rowLargest, FLOOR * caseLargest);
}
