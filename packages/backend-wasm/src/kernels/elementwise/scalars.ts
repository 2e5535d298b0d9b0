import type { DType } from "@moiety/core";

/** The bits of a value as a dtype stores it. */
export function bitsOf(value: number, dtype: DType): number {
  const view = new DataView(new ArrayBuffer(4));
  switch (dtype) {
    case "f32":
      view.setFloat32(0, value);
      return view.getUint32(0);
    case "f16":
      return halfOf(value, 10, 15);
    case "bf16":
      return halfOf(value, 7, 127);
    default:
      return value >>> 0;
  }
}

/** A value's bits as often as they fit in a word. */
export function wordOf(value: number, dtype: DType): number {
  const bits = bitsOf(value, dtype);
  switch (dtype) {
    case "u8":
      return bits * 0x01010101;
    case "f16":
    case "bf16":
      return bits * 0x00010001;
    default:
      return bits;
  }
}

/**
 * The bits of the half float nearest to a value, ties to even; beyond the largest number it is infinity,
 * and every NaN is the quiet one without sign.
 */
function halfOf(value: number, significandBits: number, bias: number): number {
  const infinity = (2 * bias + 1) << significandBits;
  if (Number.isNaN(value)) return infinity | (1 << (significandBits - 1));
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  // The larger halves of exponents begin at powers of two, which Math.log2 may miss by a rounding.
  let exponent = Math.max(Math.floor(Math.log2(size)), 1 - bias);
  if (size < 2 ** exponent && exponent > 1 - bias) exponent--;
  if (size >= 2 ** (exponent + 1)) exponent++;
  if (exponent > bias) return sign | infinity;
  // Patterns count the steps of one exponent, so that rounding up carries into the next one.
  const steps = roundToEven(size * 2 ** (significandBits - exponent));
  return sign | (((exponent + bias - 1) << significandBits) + steps);
}

/** For values of few bits. */
function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
