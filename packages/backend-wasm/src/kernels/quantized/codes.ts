import type { QuantizedFormat } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import type { I32, Int } from "../../emit/scalars.ts";
import {
  F32x4,
  I16x8,
  I32x4,
  I8x16,
  loadVector,
  shuffle,
  vectorConst,
} from "../../emit/vectors.ts";

/** How codes are told to routines: whole bytes, or one of the tables of {@link halfByteTables}. */
export const CODE_KINDS: Readonly<Record<QuantizedFormat, number>> = {
  q8_row: 0,
  q8_block32: 0,
  q4_block32: 1,
  mxfp4: 2,
};

/** Values that share a scale in formats with blocks. */
export const BLOCK = 32;

const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6] as const;

/** The numbers of 4-bit codes, by kind. */
const HALF_BYTES: Readonly<Record<number, readonly number[]>> = {
  1: /*#__PURE__*/ Array.from({ length: 16 }, (_, code) => code - 8),
  2: [...E2M1, .../*#__PURE__*/ E2M1.map((value) => -value)],
};

/** The third and the fourth byte of the sixteen numbers of a kind, as floats; the others are zero. */
export interface HalfByteTables {
  readonly third: I8x16;
  readonly fourth: I8x16;
}

/** The tables of a kind that is known when the routine runs. */
export function halfByteTables(body: Body, kind: I32): HalfByteTables {
  const tables = tablesOf(1);
  const third = body.let(tables.third);
  const fourth = body.let(tables.fourth);
  body.if(kind.eq(2), () => {
    const others = tablesOf(2);
    body.set(third, others.third);
    body.set(fourth, others.fourth);
  });
  return { third, fourth };
}

function tablesOf(kind: number): HalfByteTables {
  const floats = new DataView(new ArrayBuffer(4));
  const bytes = (HALF_BYTES[kind] ?? []).map((value) => {
    floats.setFloat32(0, value, true);
    return [floats.getUint8(2), floats.getUint8(3)] as const;
  });
  return {
    third: vectorConst(
      I8x16,
      bytes.map(([byte]) => byte),
    ),
    fourth: vectorConst(
      I8x16,
      bytes.map(([, byte]) => byte),
    ),
  };
}

/** Sixteen 4-bit codes, one in each byte, as numbers in their order: four vectors. */
export function halfByteNumbers(body: Body, codes: I8x16, tables: HalfByteTables): F32x4[] {
  const zero = body.let(I8x16.splat(0));
  return upperHalves(body, codes, tables).flatMap((words) =>
    [0, 8].map((from) => {
      const bytes = Array.from({ length: 4 }, (_, index) => {
        const place = from + 2 * index;
        return [place, place + 1, 16 + place, 17 + place];
      });
      return body.let(shuffle(zero, words, bytes.flat(), I8x16).as(F32x4));
    }),
  );
}

/**
 * The same, of each eight codes first those in even places, then those in odd ones: shuffles are what
 * there is too little of in a loop that does little else.
 */
export function halfByteTurns(body: Body, codes: I8x16, tables: HalfByteTables): F32x4[] {
  return upperHalves(body, codes, tables).flatMap((words) => [
    body.let(words.as(I32x4).shl(16).as(F32x4)),
    body.let(words.as(I32x4).and(I32x4.const(UPPER_HALF)).as(F32x4)),
  ]);
}

/** 0xffff0000. */
const UPPER_HALF = -0x10000;

/** The upper 16 bits of the numbers of sixteen codes: two vectors of eight. */
function upperHalves(body: Body, codes: I8x16, { third, fourth }: HalfByteTables): I8x16[] {
  const places = body.let(codes);
  const [low, high] = [body.let(third.swizzle(places)), body.let(fourth.swizzle(places))];
  return [0, 8].map((from) => {
    const bytes = Array.from({ length: 8 }, (_, index) => [from + index, 16 + from + index]);
    return body.let(shuffle(low, high, bytes.flat(), I8x16));
  });
}

/** The low and the high halves of sixteen bytes. */
export function halvesOfBytes(body: Body, bytes: I8x16): readonly [low: I8x16, high: I8x16] {
  const held = body.let(bytes);
  const mask = I8x16.splat(15);
  return [body.let(held.and(mask)), body.let(held.as(I16x8).shrU(4).as(I8x16).and(mask))];
}

/** Eight signed bytes from memory as numbers: two vectors. */
export function byteNumbers(body: Body, address: Int, offset = 0): F32x4[] {
  const words = body.let(I16x8.load8x8(address, offset));
  return [body.let(words.extendLow().toF32x4()), body.let(words.extendHigh().toF32x4())];
}

/** Bits of 2^−127, which has no exponent of its own. */
const LEAST_POWER = 0x00400000;
const NAN = 0x7fc00000;
/** The exponent that stands for NaN. */
const NAN_EXPONENT = 255;

/** 2^(exponent − 127) of four words 0 … 255, a local; 255 is NaN. */
export function powersOf(body: Body, exponents: I32x4): F32x4 {
  const least = exponents.eq(I32x4.const(0));
  const power = body.let(least.chooseInt(I32x4.const(LEAST_POWER), exponents.shl(23)));
  return exponents.eq(I32x4.const(NAN_EXPONENT)).chooseInt(I32x4.const(NAN), power).as(F32x4);
}

/** Sixteen bytes from memory. */
export function loadBytes(address: Int, offset = 0): I8x16 {
  return loadVector(I8x16, address, offset);
}
