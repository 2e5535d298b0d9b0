import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  BRAIN,
  E4M3,
  E5M2,
  HALF,
  type ShortFloat,
  bf16ToF32Bits,
  e4m3ToF32Bits,
  e5m2ToF32Bits,
  f16ToF32Bits,
  shortFloatEncoder,
} from "./float-bits.ts";

/** A float format by its textbook definition: sign · 2^(exponent − bias) · mantissa. */
function define(bits: number, exponentBits: number, mantissaBits: number, ieee: boolean): number {
  const mantissa = bits & ((1 << mantissaBits) - 1);
  const highest = (1 << exponentBits) - 1;
  const exponent = (bits >> mantissaBits) & highest;
  const sign = (bits >> (exponentBits + mantissaBits)) & 1 ? -1 : 1;
  const bias = highest >> 1;
  if (ieee && exponent === highest) return mantissa === 0 ? sign * Infinity : Number.NaN;
  if (!ieee && exponent === highest && mantissa === (1 << mantissaBits) - 1) return Number.NaN;
  const fraction = mantissa / 2 ** mantissaBits;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias);
  return sign * (1 + fraction) * 2 ** (exponent - bias);
}

function ofBits(bits: number): number {
  return new Float32Array(Uint32Array.of(bits).buffer)[0] ?? Number.NaN;
}

describe.each<[string, (bits: number) => number, number, number, boolean]>([
  ["F16", f16ToF32Bits, 5, 10, true],
  ["BF16", bf16ToF32Bits, 8, 7, true],
  ["F8_E5M2", e5m2ToF32Bits, 5, 2, true],
  ["F8_E4M3", e4m3ToF32Bits, 4, 3, false],
])("%s", (_, toBits, exponentBits, mantissaBits, ieee) => {
  it("widens every one of its values exactly", () => {
    const wrong: number[] = [];
    for (let bits = 0; bits < 2 ** (1 + exponentBits + mantissaBits); bits++) {
      const expected = define(bits, exponentBits, mantissaBits, ieee);
      if (!Object.is(ofBits(toBits(bits)), expected)) wrong.push(bits);
    }
    expect(wrong).toEqual([]);
  });
});

it("keeps the payload and sign of a NaN", () => {
  expect(f16ToF32Bits(0xfe01)).toBe(0xffc02000);
  expect(bf16ToF32Bits(0x7f81)).toBe(0x7f810000);
});

describe.each<[string, ShortFloat, (bits: number) => number]>([
  ["F16", HALF, f16ToF32Bits],
  ["BF16", BRAIN, bf16ToF32Bits],
  ["F8_E5M2", E5M2, e5m2ToF32Bits],
  ["F8_E4M3", E4M3, e4m3ToF32Bits],
])("encoding %s", (_, format, toBits) => {
  const encode = shortFloatEncoder(format);
  const { beyond, nan, sign } = format;
  const largest = ofBits(toBits(beyond - 1));
  const step = largest - ofBits(toBits(beyond - 2));

  it("gives every one of its values back", () => {
    const wrong: number[] = [];
    for (let bits = 0; bits < 2 * sign; bits++) {
      const value = ofBits(toBits(bits));
      if (!Number.isNaN(value) && encode(value) !== bits) wrong.push(bits);
    }
    expect(wrong).toEqual([]);
    expect(encode(Number.NaN) & ~sign).toBe(nan);
  });

  it("rounds to the nearest, ties to even", () => {
    const below = fc.integer({ min: 0, max: beyond - 2 });
    fc.assert(
      fc.property(below, fc.double({ min: 0, max: 1, noNaN: true }), (bits, part) => {
        const [low, high] = [ofBits(toBits(bits)), ofBits(toBits(bits + 1))];
        const value = low + (high - low) * part;
        const middle = low + (high - low) / 2;
        const even = bits % 2 === 0 ? bits : bits + 1;
        const nearest = value < middle ? bits : value > middle ? bits + 1 : even;
        expect(encode(value)).toBe(nearest);
        expect(encode(-value)).toBe(nearest | sign);
        expect(encode(middle)).toBe(even);
      }),
      { seed: 6, numRuns: 2000 },
    );
  });

  it("rounds once, not by way of f32", () => {
    const one = format.bias << format.mantissaBits;
    const half = 2 ** -format.mantissaBits / 2;
    expect(encode(1 + half)).toBe(one);
    expect(encode(1 + half + 2 ** -40)).toBe(one + 1);
  });

  it("gives what lies beyond the largest", () => {
    expect(encode(Infinity)).toBe(beyond);
    expect(encode(-1e300)).toBe(beyond | sign);
    expect(encode(largest + step * 0.49)).toBe(beyond - 1);
    expect(encode(largest + step * 0.51)).toBe(beyond);
  });
});
