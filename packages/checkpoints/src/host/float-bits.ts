/** The bits of the f32 that equals a bf16. Exact, NaN payloads included. */
export function bf16ToF32Bits(bits: number): number {
  return (bits << 16) >>> 0;
}

/** The bits of the f32 that equals an IEEE half (f16). Exact, NaN payloads included. */
export function f16ToF32Bits(bits: number): number {
  const sign = (bits & 0x8000) << 16;
  return (sign | widen((bits >> 10) & 0x1f, bits & 0x3ff, 10, 15, true)) >>> 0;
}

/** The bits of the f32 that equals an F8_E5M2: the upper byte of a half. */
export function e5m2ToF32Bits(bits: number): number {
  return f16ToF32Bits(bits << 8);
}

/**
 * The bits of the f32 that equals an F8_E4M3 (the `fn` kind: no infinities, NaN is all ones;
 * arXiv 2209.05433).
 */
export function e4m3ToF32Bits(bits: number): number {
  const sign = (bits & 0x80) << 24;
  if ((bits & 0x7f) === 0x7f) return (sign | 0x7fc00000) >>> 0;
  return (sign | widen((bits >> 3) & 0xf, bits & 7, 3, 7, false)) >>> 0;
}

/** Widens exponent and mantissa fields to those of f32. */
function widen(
  exponent: number,
  mantissa: number,
  mantissaBits: number,
  bias: number,
  hasInfinity: boolean,
): number {
  const shift = 23 - mantissaBits;
  if (hasInfinity && exponent === 2 * bias + 1) return 0x7f800000 | (mantissa << shift);
  if (exponent > 0) return ((exponent - bias + 127) << 23) | (mantissa << shift);
  if (mantissa === 0) return 0;
  // A subnormal: move its highest bit up to where the hidden one belongs.
  const up = Math.clz32(mantissa) - (31 - mantissaBits);
  return ((1 - bias - up + 127) << 23) | (((mantissa << up) & ((1 << mantissaBits) - 1)) << shift);
}

/** A float format of 16 or 8 bits. */
export interface ShortFloat {
  /** Bits of the mantissa, without the hidden one. */
  readonly mantissaBits: number;
  /** Bias of the exponent. */
  readonly bias: number;
  /** The bit of the sign: all bits below it are exponent and mantissa. */
  readonly sign: number;
  /** The bits of infinity, or of NaN where a format has no infinity. */
  readonly beyond: number;
  /** The bits of a NaN. */
  readonly nan: number;
}

/** IEEE half precision. */
export const HALF: ShortFloat = {
  mantissaBits: 10,
  bias: 15,
  sign: 0x8000,
  beyond: 0x7c00,
  nan: 0x7e00,
};
/** The upper half of an f32. */
export const BRAIN: ShortFloat = {
  mantissaBits: 7,
  bias: 127,
  sign: 0x8000,
  beyond: 0x7f80,
  nan: 0x7fc0,
};
/** F8_E5M2: the upper byte of a half. */
export const E5M2: ShortFloat = { mantissaBits: 2, bias: 15, sign: 0x80, beyond: 0x7c, nan: 0x7e };
/** F8_E4M3 of the `fn` kind: no infinities, one NaN, largest 448. */
export const E4M3: ShortFloat = { mantissaBits: 3, bias: 7, sign: 0x80, beyond: 0x7f, nan: 0x7f };

/**
 * Makes a function that rounds numbers to a short float's bits: to nearest, ties to even, once (not
 * by way of f32). A number beyond the largest gives the bits `beyond` with its sign.
 */
export function shortFloatEncoder(format: ShortFloat): (value: number) => number {
  const { mantissaBits, bias, beyond, nan } = format;
  const scratch = new DataView(new ArrayBuffer(8));
  return (value) => {
    scratch.setFloat64(0, value);
    const high = scratch.getUint32(0);
    const sign = high >>> 31 === 1 ? format.sign : 0;
    if (Number.isNaN(value)) return sign | nan;
    // Below the smallest normal number all steps are as wide as there.
    const exponent = Math.max(((high >>> 20) & 0x7ff) - 1023, 1 - bias);
    // Powers of two scale without rounding, and a mantissa that rounds up carries into the exponent.
    const steps = roundToEven(Math.abs(value) * 2 ** (mantissaBits - exponent));
    const bits = ((exponent + bias - 1) << mantissaBits) + steps;
    return sign | Math.min(bits, beyond);
  };
}

function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
