/** A 16-bit float format. */
export interface HalfFormat {
  /** Bits of the fraction. */
  readonly fraction: number;
  /** Exponent of the smallest normal number. */
  readonly least: number;
  /** Exponent of the largest number. */
  readonly most: number;
}

/** The 16-bit formats by dtype. */
export const HALVES: Readonly<Record<"f16" | "bf16", HalfFormat>> = {
  f16: { fraction: 10, least: -14, most: 15 },
  bf16: { fraction: 7, least: -126, most: 127 },
};

/** The whole number nearest to a value, halves to even. */
export function nearestWhole(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest < 0.5) return below;
  if (rest > 0.5) return below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** Exponent of the largest power of two that is not above a positive number. */
function exponentOf(size: number): number {
  let exponent = Math.floor(Math.log2(size));
  if (2 ** exponent > size) exponent--;
  if (2 ** (exponent + 1) <= size) exponent++;
  return exponent;
}

/** Distance of neighbouring numbers of the format at a value; that of its largest ones beyond. */
export function spacing(value: number, { fraction, least, most }: HalfFormat): number {
  const size = Math.abs(value);
  const exponent = size < 2 ** least ? least : Math.min(exponentOf(size), most);
  return 2 ** (exponent - fraction);
}

/** A value rounded to the format, halves to even, ±∞ beyond its range. */
export function rounded(value: number, format: HalfFormat): number {
  if (!Number.isFinite(value)) return value;
  const step = spacing(value, format);
  const near = nearestWhole(value / step) * step;
  if (Math.abs(near) < 2 ** (format.most + 1)) return near;
  return value < 0 ? -Infinity : Infinity;
}

/** The bit pattern of a number that the format holds; of NaN the quiet one. */
export function encode(value: number, format: HalfFormat): number {
  const { fraction, least, most } = format;
  const infinity = (most - least + 2) * 2 ** fraction;
  if (Number.isNaN(value)) return infinity + 2 ** (fraction - 1);
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  if (!Number.isFinite(value)) return sign + infinity;
  const size = Math.abs(value);
  if (size < 2 ** least) return sign + size / spacing(size, format);
  const exponent = exponentOf(size);
  const digits = (size / 2 ** exponent - 1) * 2 ** fraction;
  return sign + (exponent - least + 1) * 2 ** fraction + digits;
}

/** The number of a bit pattern. */
export function decode(code: number, { fraction, least, most }: HalfFormat): number {
  const sign = code >= 0x8000 ? -1 : 1;
  const magnitude = code % 0x8000;
  const exponent = Math.floor(magnitude / 2 ** fraction);
  const digits = magnitude % 2 ** fraction;
  if (exponent === most - least + 2) return digits === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * digits * 2 ** (least - fraction);
  return sign * (1 + digits / 2 ** fraction) * 2 ** (exponent - 1 + least);
}
