/** A 16-bit float format, by the bits of its stored significand and of its exponent. */
export interface HalfFormat {
  readonly significandBits: number;
  readonly exponentBits: number;
}

/** IEEE 754 binary16. */
export const F16: HalfFormat = { significandBits: 10, exponentBits: 5 };
/** bfloat16: the upper half of a float32. */
export const BF16: HalfFormat = { significandBits: 7, exponentBits: 8 };

/** Turns bit patterns of one format into values and back. */
export class HalfCodec {
  readonly #significandBits: number;
  readonly #bias: number;
  readonly #infinity: number;
  /** The value of every bit pattern. */
  readonly #values: Float64Array;
  readonly #view = new DataView(new ArrayBuffer(8));

  constructor(format: HalfFormat) {
    this.#significandBits = format.significandBits;
    this.#bias = 2 ** (format.exponentBits - 1) - 1;
    this.#infinity = (2 ** format.exponentBits - 1) << format.significandBits;
    this.#values = Float64Array.from({ length: 2 ** 16 }, (_, code) => valueOf(code, format));
  }

  /** Values of the bit patterns `codes[start … start + count]`; exact. */
  decode(codes: ArrayLike<number>, start: number, count: number, values: Float64Array): void {
    const table = this.#values;
    for (let index = 0; index < count; index++) values[index] = table[codes[start + index]!]!;
  }

  /**
   * The bit pattern nearest to a value, ties to the even pattern; beyond the largest number it is
   * infinity, and every NaN is the quiet one without sign.
   */
  encode(value: number): number {
    const significandBits = this.#significandBits;
    const bias = this.#bias;
    const infinity = this.#infinity;
    if (Number.isNaN(value)) return infinity | (1 << (significandBits - 1));
    this.#view.setFloat64(0, value);
    const head = this.#view.getUint16(0);
    const sign = head & 0x8000;
    const exponent = Math.max(((head >> 4) & 0x7ff) - 1023, 1 - bias);
    if (exponent > bias) return sign | infinity;
    // Patterns count the steps of one exponent, so that rounding up carries into the next one.
    this.#view.setUint32(0, (1023 + significandBits - exponent) << 20);
    this.#view.setUint32(4, 0);
    const steps = roundHalfToEven(Math.abs(value) * this.#view.getFloat64(0));
    return sign | (((exponent + bias - 1) << significandBits) + steps);
  }
}

/** Rounds to a whole number, halves to the even one. */
export function roundHalfToEven(value: number): number {
  const magnitude = Math.abs(value);
  // From 2^52 on every float64 is whole; below, adding and taking 2^52 rounds as float64 does.
  if (!(magnitude < 2 ** 52)) return value;
  const rounded = magnitude + 2 ** 52 - 2 ** 52;
  return value < 0 || Object.is(value, -0) ? -rounded : rounded;
}

function valueOf(code: number, { significandBits, exponentBits }: HalfFormat): number {
  const bias = 2 ** (exponentBits - 1) - 1;
  const sign = code & 0x8000 ? -1 : 1;
  const exponent = (code & 0x7fff) >> significandBits;
  const fraction = (code & (2 ** significandBits - 1)) / 2 ** significandBits;
  if (exponent === 2 ** exponentBits - 1) {
    return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  }
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias);
  return sign * (1 + fraction) * 2 ** (exponent - bias);
}
