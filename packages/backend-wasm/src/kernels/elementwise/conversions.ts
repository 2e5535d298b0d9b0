import type { DType } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import type { I32 } from "../../emit/scalars.ts";
import { F32x4, I16x8, I32x4, I8x16, loadVector, shuffle } from "../../emit/vectors.ts";
import { fromBF16x4, fromF16x4, toBF16x4, toF16x4 } from "../functions/index.ts";
import { VECTOR } from "../vector-loop.ts";

/** Elements of one step: a vector of bytes. */
export const STEP = 16;

/** A dtype that tensors have here. */
export type Held = Exclude<DType, "f64">;

/** How elements are read, as words; words as they are unless named here. */
export const READ: Readonly<Partial<Record<Held, number>>> = { f16: 1, bf16: 2, u8: 3 };

/** Reads {@link STEP} elements into four locals: half floats as f32, bytes as integers. */
export function readElements(body: Body, from: I32, read: I32): I32x4[] {
  const words = [0, 1, 2, 3].map(() => body.let(I32x4.const(0)));
  const set = (values: readonly I32x4[]): void => {
    for (const [index, value] of values.entries()) body.set(words[index] as I32x4, value);
  };
  const way = (name: Held, values: () => readonly I32x4[]): void =>
    body.if(read.eq(READ[name] ?? 0), () => set(values()));
  way("f32", () => words.map((_, index) => I32x4.load(from, index * VECTOR)));
  way("f16", () => readHalves(body, from).map((bits) => fromF16x4(body, bits).as(I32x4)));
  way("bf16", () => readHalves(body, from).map((bits) => fromBF16x4(bits).as(I32x4)));
  way("u8", () => {
    const bytes = body.let(loadVector(I8x16, from));
    return [bytes.extendLowU(), bytes.extendHighU()].flatMap((half) => widened(body, half));
  });
  return words;
}

function readHalves(body: Body, from: I32): I32x4[] {
  return [0, VECTOR].flatMap((offset) => widened(body, loadVector(I16x8, from, offset)));
}

function widened(body: Body, halves: I16x8): I32x4[] {
  const both = body.let(halves);
  return [body.let(both.extendLowU()), body.let(both.extendHighU())];
}

/** Turns four words, which are a local, into others. */
type Convert = (body: Body, words: I32x4) => I32x4;

const SIGN = -(2 ** 31);

/**
 * Keeps 24 bits of an unsigned number, and whether the others are 0: so much is exact in f32, and
 * rounding it to fewer bits gives what rounding the number would.
 */
function shortened(body: Body, words: I32x4): I32x4 {
  const number = body.let(words);
  const dropped = number.and(I32x4.const(0xff)).ne(I32x4.const(0)).and(I32x4.const(0x100));
  const short = number.and(I32x4.const(~0xff)).or(dropped);
  return number.ltU(I32x4.const(2 ** 24)).chooseInt(number, short);
}

/** Integers as f32, by name; the short ones are to be rounded further. */
const LIFT = {
  unsigned: (_, words) => words.toF32x4U().as(I32x4),
  signed: (_, words) => words.toF32x4().as(I32x4),
  unsignedShort: (body, words) => shortened(body, words).toF32x4U().as(I32x4),
  signedShort: (body, words) =>
    shortened(body, words.abs())
      .toF32x4U()
      .as(I32x4)
      .or(words.and(I32x4.const(SIGN))),
} as const satisfies Readonly<Record<string, Convert>>;

const floats =
  (convert: (body: Body, values: F32x4) => I32x4): Convert =>
  (body, words) =>
    convert(body, words.as(F32x4));

const toByte = (words: I32x4): I32x4 => words.max(I32x4.const(0)).min(I32x4.const(255));

/** What words become before they are stored, by name. */
const FINISH = {
  f16: /*#__PURE__*/ floats(toF16x4),
  bf16: /*#__PURE__*/ floats(toBF16x4),
  i32: /*#__PURE__*/ floats((_, values) => values.toI32x4()),
  u32: /*#__PURE__*/ floats((_, values) => values.toU32x4()),
  u8: /*#__PURE__*/ floats((_, values) => toByte(values.toI32x4())),
  bool: /*#__PURE__*/ floats((_, values) => values.ne(F32x4.const(0)).shrU(31)),
  wholeToBool: (_, words) => words.ne(I32x4.const(0)).shrU(31),
  signedToByte: (_, words) => toByte(words),
  unsignedToByte: (_, words) => words.gtU(I32x4.const(255)).chooseInt(I32x4.const(255), words),
} as const satisfies Readonly<Record<string, Convert>>;

type Lift = keyof typeof LIFT;
type Finish = keyof typeof FINISH;

/** The steps of a cast; 0 says that there is none. */
export interface Steps {
  readonly lift: number;
  readonly finish: number;
}

/** What the words that are read of one dtype go through to become those of another. */
export function stepsOf(from: Held, to: Held): Steps {
  const whole = from === "i32" || from === "u32" || from === "bool" || from === "u8";
  if (!whole) return steps(undefined, to === "f32" ? undefined : to);
  const signed = from === "i32";
  switch (to) {
    case "f32":
    // Numbers that f32 has to round are beyond f16.
    // falls through
    case "f16":
      return steps(signed ? "signed" : "unsigned", to === "f16" ? to : undefined);
    case "bf16":
      return steps(signed ? "signedShort" : "unsignedShort", to);
    case "bool":
      return steps(undefined, "wholeToBool");
    case "u8":
      return steps(undefined, signed ? "signedToByte" : "unsignedToByte");
    default:
      return steps();
  }
}

function steps(lift?: Lift, finish?: Finish): Steps {
  return {
    lift: lift === undefined ? 0 : Object.keys(LIFT).indexOf(lift) + 1,
    finish: finish === undefined ? 0 : Object.keys(FINISH).indexOf(finish) + 1,
  };
}

/** Takes words, which are locals, through the steps of a cast. */
export function convertElements(
  body: Body,
  words: readonly I32x4[],
  { lift, finish }: Readonly<Record<keyof Steps, I32>>,
): void {
  const through = (converts: Readonly<Record<string, Convert>>, number: I32): void => {
    for (const [index, convert] of Object.values<Convert>(converts).entries()) {
      body.if(number.eq(index + 1), () => {
        for (const word of words) body.set(word, convert(body, word));
      });
    }
  };
  body.if(lift, () => through(LIFT, lift));
  body.if(finish, () => through(FINISH, finish));
}

/** The low halves of the words of two vectors. */
const LOW_HALVES = [0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29];
/** The low bytes of the halves of two vectors. */
const LOW_BYTES = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30];

/** Stores the low bits of the words of four vectors as elements of 1, 2 or 4 bytes. */
export function storeElements(body: Body, to: I32, words: readonly I32x4[], unit: I32): void {
  const [a, b, c, d] = words as [I32x4, I32x4, I32x4, I32x4];
  const inWords = (): void => {
    for (const [index, vector] of words.entries()) body.store(to, vector, index * VECTOR);
  };
  body.if(unit.eq(4), inWords, () => {
    const low = body.let(shuffle(a, b, LOW_HALVES, I32x4));
    const high = body.let(shuffle(c, d, LOW_HALVES, I32x4));
    const inHalves = (): void => {
      body.store(to, low);
      body.store(to, high, VECTOR);
    };
    const inBytes = (): void => body.store(to, shuffle(low, high, LOW_BYTES, I32x4));
    body.if(unit.eq(2), inHalves, inBytes);
  });
}
