import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NumericError, type QuantizedFormat, ShapeError, quantizedFormats } from "@moiety/core";
import { type HostQuantized, hostQuantize } from "./quantize.ts";

const SIZES = [0, 0.5, 1, 1.5, 2, 3, 4, 6] as const;
const WHOLE = ["q8_row", "q8_block32", "q4_block32"] as const;
const FORMATS = Object.keys(quantizedFormats) as QuantizedFormat[];
const BLOCK = 32;
const runs = { numRuns: 60, seed: 11 };

/** The numbers that codes stand for, by the words of the contract. */
function numbersOf({ codes, scales }: HostQuantized, width: number, format: QuantizedFormat) {
  const { codesPerByte, block = width, zeroPoint } = quantizedFormats[format];
  return Array.from({ length: codes.length * codesPerByte }, (_, at) => {
    const byte = codes[Math.floor(at / codesPerByte)] ?? 0;
    const code = codesPerByte === 1 ? byte : (byte >> (4 * (at % 2))) & 15;
    const scale = scales[Math.floor(at / block)] ?? 0;
    if (zeroPoint !== undefined) return (code - zeroPoint) * scale;
    return (code < 8 ? 1 : -1) * (SIZES[code % 8] ?? 0) * 2 ** (scale - 127);
  });
}

/** Rows of numbers of all sizes that float32 has. */
const rows = fc
  .record({ count: fc.integer({ min: 1, max: 4 }), blocks: fc.integer({ min: 1, max: 3 }) })
  .chain(({ count, blocks }) =>
    fc.record({
      width: fc.constant(blocks * BLOCK),
      values: fc.array(
        fc.oneof(
          fc.float({ noNaN: true, noDefaultInfinity: true }),
          fc.float({ min: -1, max: 1, noNaN: true }),
          fc.constant(0),
        ),
        { minLength: count * blocks * BLOCK, maxLength: count * blocks * BLOCK },
      ),
    }),
  );

const shapeOf = (values: readonly number[], width: number): number[] => [
  values.length / width,
  width,
];

describe("hostQuantize", () => {
  it.each(WHOLE)("is off by half a step at most: %s", (format) => {
    fc.assert(
      fc.property(rows, ({ width, values }) => {
        const found = hostQuantize(values, shapeOf(values, width), format);
        const { block = width } = quantizedFormats[format];
        for (const [at, number] of numbersOf(found, width, format).entries()) {
          const step = found.scales[Math.floor(at / block)] ?? 0;
          // The scale is rounded to float32, and below its normal numbers to whole 2^-149.
          const bound = (step / 2) * (1 + 2 ** -16) + 128 * 2 ** -149;
          expect(Math.abs(number - (values[at] ?? 0))).toBeLessThanOrEqual(bound);
        }
      }),
      runs,
    );
  });

  it("is off by half the gap between neighbours at most: mxfp4", () => {
    fc.assert(
      fc.property(rows, ({ width, values }) => {
        const found = hostQuantize(values, shapeOf(values, width), "mxfp4");
        for (const [at, number] of numbersOf(found, width, "mxfp4").entries()) {
          const step = 2 ** ((found.scales[Math.floor(at / BLOCK)] ?? 0) - 127);
          const size = Math.abs(values[at] ?? 0) / step;
          expect(size).toBeLessThan(8);
          // Gaps are ½ up to 2, 1 up to 4 and 2 up to 6, and what is above 6 becomes 6.
          const gap = size <= 2 ? 0.5 : size <= 4 ? 1 : size <= 6 ? 2 : 2 * (size - 6);
          expect(Math.abs(number - (values[at] ?? 0))).toBeLessThanOrEqual((gap / 2) * step);
        }
      }),
      runs,
    );
  });

  it.each(WHOLE)("finds the codes of numbers that are whole steps again: %s", (format) => {
    const { zeroPoint = 0 } = quantizedFormats[format];
    const most = zeroPoint - 1;
    const steps = fc.array(fc.integer({ min: -most, max: most }), {
      minLength: BLOCK,
      maxLength: BLOCK,
    });
    fc.assert(
      fc.property(steps, fc.integer({ min: -100, max: 100 }), fc.boolean(), (some, power, up) => {
        const whole = some.with(5, up ? most : -most);
        const values = whole.map((step) => step * 2 ** power);
        const found = hostQuantize(values, [1, BLOCK], format);
        expect([...found.scales]).toEqual([2 ** power]);
        expect(numbersOf(found, BLOCK, format).map((value) => value / 2 ** power + 0)).toEqual(
          whole.map((step) => step + 0),
        );
        const again = hostQuantize(numbersOf(found, BLOCK, format), [1, BLOCK], format);
        expect(again).toEqual(found);
      }),
      runs,
    );
  });

  it("finds the codes of numbers of four bits again: mxfp4", () => {
    const codes = fc.array(fc.integer({ min: 0, max: 15 }), {
      minLength: BLOCK,
      maxLength: BLOCK,
    });
    fc.assert(
      fc.property(
        codes,
        fc.integer({ min: 1, max: 254 }),
        fc.constantFrom(6, 7, 14, 15),
        (...given) => {
          const [some, exponent, large] = given;
          const wanted = some.with(9, large);
          const values = wanted.map(
            (code) => (code < 8 ? 1 : -1) * (SIZES[code % 8] ?? 0) * 2 ** (exponent - 127),
          );
          const found = hostQuantize(values, [BLOCK], "mxfp4");
          expect([...found.scales]).toEqual([exponent]);
          const packed = Array.from(
            { length: BLOCK / 2 },
            (_, pair) => (wanted[2 * pair] ?? 0) | ((wanted[2 * pair + 1] ?? 0) << 4),
          );
          expect([...found.codes]).toEqual(packed);
        },
      ),
      runs,
    );
  });

  it("keeps numbers of four bits whatever scale held them: mxfp4", () => {
    const codes = fc.array(fc.integer({ min: 0, max: 7 }), { minLength: BLOCK, maxLength: BLOCK });
    fc.assert(
      fc.property(codes, fc.integer({ min: 4, max: 254 }), (some, exponent) => {
        const values = some.map((code) => (SIZES[code] ?? 0) * 2 ** (exponent - 127));
        const found = hostQuantize(values, [BLOCK], "mxfp4");
        expect(numbersOf(found, BLOCK, "mxfp4")).toEqual(values);
      }),
      runs,
    );
  });

  it.each(FORMATS)("keeps rows of zeros beside any others, and mirrors signs: %s", (format) => {
    fc.assert(
      fc.property(rows, ({ width, values }) => {
        const zeros = new Array<number>(width).fill(0);
        const around = [...zeros, ...values, ...zeros];
        const found = numbersOf(
          hostQuantize(around, shapeOf(around, width), format),
          width,
          format,
        );
        expect(found.slice(0, width).every((value) => value === 0)).toBe(true);
        expect(found.slice(-width).every((value) => value === 0)).toBe(true);
        const alone = hostQuantize(values, shapeOf(values, width), format);
        expect(found.slice(width, -width)).toEqual(numbersOf(alone, width, format));
        const negative = values.map((value) => -value);
        const mirrored = hostQuantize(negative, shapeOf(negative, width), format);
        for (const [at, value] of numbersOf(mirrored, width, format).entries()) {
          expect(value + (numbersOf(alone, width, format)[at] ?? Number.NaN)).toBe(0);
        }
      }),
      { ...runs, numRuns: 8 },
    );
  });

  it.each(FORMATS)("refuses what is not finite, and rows of parts of blocks: %s", (format) => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 * BLOCK - 1 }),
        fc.constantFrom(Number.NaN, Infinity, -Infinity),
        (place, bad) => {
          const values = new Float32Array(2 * BLOCK).fill(1);
          values[place] = bad;
          const named = new RegExp(`number ${place} is ${bad}`);
          expect(() => hostQuantize(values, [2, BLOCK], format)).toThrow(named);
          expect(() => hostQuantize(values, [2, BLOCK], format)).toThrow(NumericError);
        },
      ),
      runs,
    );
    const partial = (): unknown => hostQuantize(new Float32Array(2 * 40), [2, 40], format);
    if (format === "q8_row") expect(partial).not.toThrow();
    else expect(partial).toThrow(ShapeError);
  });
});
