import { type DType, isFloat } from "@moiety/core";

/** In what an honest backend adds products up, as its manifest declares it. */
export type AccumulationDType = "f16" | "f32" | "f64";

/** In what an honest backend keeps the floats that the yardstick keeps as f64. */
export type StorageDType = "f32" | "f64";

/** A binary float format, as far as rounding errors go. */
interface FloatFormat {
  /** Largest relative error of rounding to nearest: half a unit in the last place of 1. */
  readonly unit: number;
  /** Bits of the significand, the hidden one included. */
  readonly bits: number;
  readonly largest: number;
  readonly smallestNormal: number;
}

const FORMATS: Readonly<Record<AccumulationDType, FloatFormat>> = {
  f16: { unit: 2 ** -11, bits: 11, largest: 65504, smallestNormal: 2 ** -14 },
  f32: {
    unit: 2 ** -24,
    bits: 24,
    largest: (2 - 2 ** -23) * 2 ** 127,
    smallestNormal: 2 ** -126,
  },
  f64: { unit: 2 ** -53, bits: 53, largest: Number.MAX_VALUE, smallestNormal: 2 ** -1022 },
};

/**
 * Rounding of one result, in units: WGSL lets a correctly rounded operation give either neighbour
 * of the exact value, which is two units, a whole unit in the last place.
 */
export const ROUNDING = 2;

/**
 * How far an honest backend may be from the exact value, for one declared accumulation and storage.
 * The yardstick itself computes in f64; what it adds of its own is below every bound for f32.
 */
export class Precision {
  readonly #accumulation: FloatFormat;
  readonly #storage: FloatFormat;

  constructor(accumulation: AccumulationDType, storage: StorageDType) {
    this.#accumulation = FORMATS[accumulation];
    this.#storage = FORMATS[storage];
  }

  /** A number as a tensor of this float dtype keeps it here. */
  kept(dtype: DType, value: number): number {
    return dtype === "f32" ? Math.fround(value) : value;
  }

  /** Whether an honest backend holds exactly this number. */
  holds(dtype: DType, value: number): boolean {
    const { smallestNormal } = this.#formatOf(dtype);
    if (value !== 0 && Math.abs(value) < smallestNormal) return false;
    return this.#formatOf(dtype) === FORMATS.f64 || Math.fround(value) === value;
  }

  /**
   * Bound of a float result.
   *
   * @param value the exact function of the yardstick's operands
   * @param inherited how far that may move within the bounds of the operands
   * @param units what the operation itself adds, as a multiple of the unit
   */
  settle(dtype: DType, value: number, inherited: number, units: number): number {
    // What is not finite must be so exactly, unless an operand may be anything.
    if (!Number.isFinite(value)) return inherited === Infinity ? Infinity : 0;
    const format = this.#formatOf(dtype);
    const own = Math.abs(value - this.kept(dtype, value));
    const bound = inherited + units * format.unit + own;
    const size = Math.abs(value) + bound;
    // It may overflow there; and 0 · ∞, an operand that may be anything, is NaN here.
    if (!(size <= format.largest)) return Infinity;
    // Subnormal results may be flushed to zero.
    const mayFlush = Math.abs(value) - bound < format.smallestNormal;
    return mayFlush ? bound + Math.min(size, format.smallestNormal) : bound;
  }

  /**
   * Bound of a sum (of products).
   *
   * Every order of summation is allowed, so the error is a multiple c of the accumulator's unit and
   * of S, the sum of absolute terms. The worst case, c = n, would let half of a wrong sum pass, and a
   * constant would fail a serial loop over positive numbers, whose rounding errors drift: of n =
   * 2048 products it was seen to reach c = 52, just above √n. c = 2√n admits every order with room to
   * spare, and is far below an accumulator of fewer bits or a forgotten term.
   *
   * @param magnitude S, of the yardstick's operands
   * @param step a power of two that divides every term; 0 where there is no useful one
   */
  sum(
    dtype: DType,
    total: number,
    magnitude: number,
    inherited: number,
    count: number,
    step: number,
  ): number {
    if (!Number.isFinite(total)) return this.settle(dtype, total, inherited, 0);
    if (inherited === 0 && this.#addsExactly(dtype, magnitude, step)) return 0;
    const size = magnitude + inherited;
    if (size > this.#accumulation.largest) return Infinity;
    const growth = count <= 1 ? 1 : 2 * Math.sqrt(count);
    const accumulated = inherited + growth * this.#accumulation.unit * size;
    return this.settle(dtype, total, accumulated, ROUNDING * Math.abs(total));
  }

  /**
   * Bound of a number from the host: an honest backend rounds it to what it keeps, and may take a
   * subnormal one for zero.
   */
  uploaded(dtype: DType, value: number): number {
    if (!isFloat(dtype) || !Number.isFinite(value)) return 0;
    const rounds = this.#formatOf(dtype) === FORMATS.f32 ? Math.abs(value - Math.fround(value)) : 0;
    const subnormal = Math.abs(value) < this.#formatOf(dtype).smallestNormal;
    return subnormal ? Math.abs(value) + rounds : rounds;
  }

  /**
   * Bound of a scalar attribute. Two numbers differ between the f32 and the f64 run of one program,
   * though both mean the same: the dtype's lowest (or largest) number, and its epsilon.
   */
  scalar(dtype: DType, value: number): number {
    if (dtype === "f64" && this.#storage === FORMATS.f32) {
      if (Math.abs(value) === Number.MAX_VALUE) return 0;
      if (value === 2 ** -52) return 2 ** -23 - 2 ** -52;
    }
    return this.uploaded(dtype, value);
  }

  /** Where an honest division may be meaningless: WGSL demands nothing of such divisors. */
  dividesBy(dtype: DType, least: number, most: number): boolean {
    return this.#formatOf(dtype) === FORMATS.f64 || (least >= 2 ** -126 && most <= 2 ** 126);
  }

  /**
   * Whether sums are exact in any order: every partial sum is a multiple of `step`, and all multiples
   * up to `magnitude` fit into the accumulator and the result.
   */
  #addsExactly(dtype: DType, magnitude: number, step: number): boolean {
    const { bits, smallestNormal, largest } = this.#accumulation;
    const usable = Math.min(bits, this.#formatOf(dtype).bits);
    const least = Math.max(smallestNormal, this.#formatOf(dtype).smallestNormal);
    return step >= least && magnitude <= step * 2 ** usable && magnitude <= largest;
  }

  #formatOf(dtype: DType): FloatFormat {
    return dtype === "f32" ? FORMATS.f32 : this.#storage;
  }
}
