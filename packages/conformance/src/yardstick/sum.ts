import type { DType } from "@moiety/core";
import type { Operand } from "./kernel.ts";
import type { Precision } from "./precision.ts";

/** A sum of numbers or products, with its bound. Used again for each output. */
export class Sum {
  readonly #precision: Precision;
  readonly #dtype: DType;
  readonly #step: number;
  #total = 0;
  #magnitude = 0;
  #inherited = 0;
  #count = 0;

  /** `step`: a power of two that divides every term, as {@link stepOf} finds it; 0 where none is known. */
  constructor(precision: Precision, dtype: DType, step: number) {
    this.#precision = precision;
    this.#dtype = dtype;
    this.#step = step;
  }

  /** The sum as its dtype keeps it. */
  get value(): number {
    return this.#precision.kept(this.#dtype, this.#total);
  }

  /** The bound of the sum. */
  get bound(): number {
    return this.#precision.sum(
      this.#dtype,
      this.#total,
      this.#magnitude,
      this.#inherited,
      this.#count,
      this.#step,
    );
  }

  /** Begins anew. */
  reset(): void {
    this.#total = 0;
    this.#magnitude = 0;
    this.#inherited = 0;
    this.#count = 0;
  }

  /** Adds a number. */
  add(value: number, bound: number): void {
    this.#total += value;
    this.#magnitude += Math.abs(value);
    this.#inherited += bound;
    this.#count++;
  }

  /** Adds the product of two numbers, given with their bounds. */
  addProduct(a: number, aBound: number, b: number, bBound: number): void {
    this.#total += a * b;
    this.#magnitude += Math.abs(a * b);
    if (aBound !== 0 || bBound !== 0) {
      this.#inherited += Math.abs(a) * bBound + aBound * (Math.abs(b) + bBound);
    }
    this.#count++;
  }
}

/** As many bits as a significand may have for its sums to be worth a look. */
const BITS = 24;

/**
 * The largest power of two that divides every element, where all are exact and none has more than 24
 * significant bits beside the largest; else 0. Sums of such numbers can be exact in any order.
 */
export function stepOf({ values, bounds }: Pick<Operand, "values" | "bounds">): number {
  if (bounds?.some((bound) => bound !== 0)) return 0;
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  // NaN is neither, and Math.max hands it on.
  if (!(largest > 0 && largest < Infinity)) return 0;
  let step = 2 ** (Math.ceil(Math.log2(largest)) - BITS);
  if (!divides(step, values)) return 0;
  while (divides(2 * step, values)) step *= 2;
  return step;
}

function divides(step: number, values: Float64Array): boolean {
  for (const value of values) if (!Number.isInteger(value / step)) return false;
  return true;
}
