import { NumericError, ShapeError } from "@moiety/core";
import { studentQuantile } from "./student-t.ts";

/** What held-out sequences say about two models. */
export type Verdict = "first better" | "second better" | "not resolved";

/** Two models on the same sequences, lower is better. */
export interface Comparison {
  /** Mean of the first model, bits/byte. */
  readonly first: number;
  /** Mean of the second model, bits/byte. */
  readonly second: number;
  /** Mean of first minus second, bits/byte. */
  readonly difference: number;
  /** Lower end of the interval of `difference`; −∞ for a single sequence. */
  readonly low: number;
  /** Upper end of the interval of `difference`; +∞ for a single sequence. */
  readonly high: number;
  readonly sequences: number;
  /** `not resolved` where the interval contains 0. */
  readonly verdict: Verdict;
}

/**
 * Compares two models by the paired Student's t interval: mean of the differences
 * ± t(n − 1) · s / √n, s with n − 1 in its denominator. It speaks of these two trained models on
 * text like this; what another seed would have trained is beyond it.
 *
 * @param first bits/byte of each sequence.
 * @param second bits/byte of the same sequences in the same order.
 * @param level probability with which such intervals hold.
 */
export function compare(
  first: readonly number[],
  second: readonly number[],
  level: number = 0.95,
): Comparison {
  if (first.length !== second.length || first.length === 0) {
    throw new ShapeError(
      `a paired comparison needs equally many sequences of both models, at least one: ` +
        `got ${first.length} and ${second.length}`,
    );
  }
  const differences = first.map((value, index) => value - (second[index] ?? Number.NaN));
  const difference = mean(differences);
  if (!Number.isFinite(difference)) {
    throw new NumericError("a held-out loss is not finite, so there is nothing to compare");
  }
  const half = halfWidth(differences, level);
  const low = difference - half;
  const high = difference + half;
  return {
    first: mean(first),
    second: mean(second),
    difference,
    low,
    high,
    sequences: first.length,
    verdict: high < 0 ? "first better" : low > 0 ? "second better" : "not resolved",
  };
}

/** The arithmetic mean. */
export function mean(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}

function halfWidth(values: readonly number[], level: number): number {
  const count = values.length;
  if (count < 2) return Number.POSITIVE_INFINITY;
  const center = mean(values);
  const squares = values.reduce((total, value) => total + (value - center) ** 2, 0);
  const deviation = Math.sqrt(squares / (count - 1));
  return (studentQuantile((1 + level) / 2, count - 1) * deviation) / Math.sqrt(count);
}
