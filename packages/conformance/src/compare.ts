import { type DType, type HostArray, type Shape, isFloat } from "@moiety/core";
import { HALVES, decode } from "./yardstick/half.ts";

/** What is compared: values that were got, values that were wanted, and how far they may be apart. */
export interface Compared {
  readonly got: HostArray;
  readonly wanted: HostArray;
  /** One bound for each element (see the yardstick). */
  readonly bounds: Float64Array;
  readonly shape: Shape;
  /** Dtype of the values got. Those wanted may be f64 where these are f32. */
  readonly dtype: DType;
}

/** An element and what was wrong with it. */
export interface ComparedElement {
  /** In row-major order. */
  readonly index: number;
  readonly got: number;
  readonly wanted: number;
  readonly bound: number;
}

/** The outcome of a comparison. */
export interface Comparison {
  /** Whether every element is within its bound. */
  readonly ok: boolean;
  /** Largest |got − wanted| / bound; 0 for equal values, ∞ where a bound of 0 was missed. */
  readonly maxErr: number;
  /** The 99.9th percentile of those: the least that 99.9 % of the elements do not exceed. */
  readonly p999: number;
  /** The first element with the largest error; `undefined` where there are no elements. */
  readonly worst: ComparedElement | undefined;
  /**
   * Elements whose bound says nothing: above a tenth of the largest wanted magnitude of their row
   * (last axis), or above 0 where values are whole. The former are compared with their bound all
   * the same, the latter are not.
   */
  readonly ambiguous: number;
}

/** Share of its row's largest magnitude above which a bound says nothing. */
const USELESS = 0.1;

/**
 * Bounds below this are flushed subnormals. They are no fault of a row whose values are all zero.
 */
const NEGLIGIBLE = 2 ** -100;

/**
 * Compares values element by element; the worst decides, never a mean: one wrong row of thousands
 * hardly shows in a mean. NaN is equal to NaN alone, and an infinity to itself; where a bound is
 * infinite anything goes.
 */
export function compareValues({ got, wanted, bounds, shape, dtype }: Compared): Comparison {
  const valueOf = dtype === "f16" || dtype === "bf16" ? halfReader(dtype) : numberReader;
  const real = isFloat(dtype) || dtype === "f16" || dtype === "bf16";
  const width = Math.max(1, shape.at(-1) ?? 1);
  const errors = new Float64Array(wanted.length);
  let worst: ComparedElement | undefined;
  let maxErr = 0;
  let ambiguous = 0;
  for (let start = 0; start < wanted.length; start += width) {
    const end = Math.min(start + width, wanted.length);
    const useless = real ? USELESS * largestOf(wanted, start, end, valueOf) : 0;
    for (let index = start; index < end; index++) {
      const element = {
        index,
        got: valueOf(got, index),
        wanted: valueOf(wanted, index),
        bound: bounds[index] ?? 0,
      };
      if (element.bound > useless && !(real && element.bound < NEGLIGIBLE)) ambiguous++;
      const error = real || element.bound === 0 ? errorOf(element) : 0;
      errors[index] = error;
      if (worst !== undefined && error <= maxErr) continue;
      worst = element;
      maxErr = error;
    }
  }
  const rank = Math.ceil(errors.length * 0.999) - 1;
  const p999 = errors.length === 0 ? 0 : nthSmallest(errors, rank);
  return { ok: maxErr <= 1, maxErr, p999, worst, ambiguous };
}

/** Error of one element as a multiple of its bound. */
function errorOf({ got, wanted, bound }: ComparedElement): number {
  if (got === wanted || bound === Infinity) return 0;
  if (Number.isNaN(wanted) && Number.isNaN(got)) return 0;
  if (!Number.isFinite(wanted) || !Number.isFinite(got)) return Infinity;
  return Math.abs(got - wanted) / bound;
}

type Reader = (values: HostArray, index: number) => number;

const numberReader: Reader = (values, index) => values[index] ?? Number.NaN;

function halfReader(dtype: "f16" | "bf16"): Reader {
  return (values, index) => decode(values[index] ?? 0, HALVES[dtype]);
}

/** The largest finite magnitude of a row. */
function largestOf(values: HostArray, start: number, end: number, valueOf: Reader): number {
  let largest = 0;
  for (let index = start; index < end; index++) {
    const size = Math.abs(valueOf(values, index));
    if (size > largest && size < Infinity) largest = size;
  }
  return largest;
}

/** The element that has `rank` smaller ones before it in sorted order. Rearranges the array. */
function nthSmallest(values: Float64Array, rank: number): number {
  let low = 0;
  let high = values.length - 1;
  while (low < high) {
    const pivot = values[Math.floor((low + high) / 2)] ?? 0;
    // Smaller ones before `left`, larger ones behind `right`, equal ones in between.
    let left = low;
    let right = high;
    for (let index = low; index <= right;) {
      const value = values[index] ?? 0;
      if (value < pivot) swap(values, index++, left++);
      else if (value > pivot) swap(values, index, right--);
      else index++;
    }
    if (rank < left) high = left - 1;
    else if (rank > right) low = right + 1;
    else return pivot;
  }
  return values[low] ?? 0;
}

function swap(values: Float64Array, a: number, b: number): void {
  const value = values[a] ?? 0;
  values[a] = values[b] ?? 0;
  values[b] = value;
}
