/**
 * Values of WebAssembly code. A value is an expression: its code runs where the value is used, and
 * twice where it is used twice. `Body.let` computes it once and keeps it in a local.
 *
 * Numbers may stand for constants wherever an operand of their type is expected.
 */
import { type Code, float32, float64, immediate, signed } from "./code.ts";

/** The types of locals and parameters, as their bytes. */
export const TYPES = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;
/** A type of WebAssembly that this emitter knows. */
export type TypeName = keyof typeof TYPES;

/** Code that leaves one value on the stack. */
export abstract class Value {
  declare readonly code: Code;
  /** The local that this value is, if it is one. */
  declare readonly slot: number | undefined;

  constructor(code: Code, slot?: number) {
    this.code = code;
    this.slot = slot;
  }

  abstract get type(): TypeName;
}

/** A class of values: how one is made of code. */
export type Kind<V extends Value> = new (code: Code, slot?: number) => V;

/** An operand of type i32: an address, a count, a flag. */
export type Int = I32 | number;
/** An operand of type f32. */
export type Float = F32 | number;

/** Code of an operand. */
export function intCode(value: Int): Code {
  return typeof value === "number" ? [0x41, ...signed(value)] : value.code;
}

/** Code of an operand. */
export function floatCode(value: Float): Code {
  return typeof value === "number" ? [0x43, ...float32(value)] : value.code;
}

/** Address, then what a load names: no promise on alignment, and the offset. */
export function loadCode(opcode: Code, address: Int, offset: number): Code {
  return [intCode(address), opcode, 0, immediate(offset)];
}

/** A 32-bit integer. Comparisons give 1 or 0; those that end in `U` take the bits as unsigned. */
export class I32 extends Value {
  get type(): TypeName {
    return "i32";
  }

  static const(value: number): I32 {
    return new I32(intCode(value));
  }
  static load(address: Int, offset = 0): I32 {
    return new I32(loadCode([0x28], address, offset));
  }
  /** One byte, as 0 … 255. */
  static load8U(address: Int, offset = 0): I32 {
    return new I32(loadCode([0x2d], address, offset));
  }
  /** Two bytes, as 0 … 65535. */
  static load16U(address: Int, offset = 0): I32 {
    return new I32(loadCode([0x2f], address, offset));
  }

  add(other: Int): I32 {
    return other === 0 ? this : ints(this, other, 0x6a);
  }
  sub(other: Int): I32 {
    return ints(this, other, 0x6b);
  }
  mul(other: Int): I32 {
    return other === 1 ? this : ints(this, other, 0x6c);
  }
  div(other: Int): I32 {
    return ints(this, other, 0x6d);
  }
  divU(other: Int): I32 {
    return ints(this, other, 0x6e);
  }
  rem(other: Int): I32 {
    return ints(this, other, 0x6f);
  }
  remU(other: Int): I32 {
    return ints(this, other, 0x70);
  }
  and(other: Int): I32 {
    return ints(this, other, 0x71);
  }
  or(other: Int): I32 {
    return ints(this, other, 0x72);
  }
  xor(other: Int): I32 {
    return ints(this, other, 0x73);
  }
  shl(other: Int): I32 {
    return ints(this, other, 0x74);
  }
  shr(other: Int): I32 {
    return ints(this, other, 0x75);
  }
  shrU(other: Int): I32 {
    return ints(this, other, 0x76);
  }
  rotl(other: Int): I32 {
    return ints(this, other, 0x77);
  }
  eq(other: Int): I32 {
    return ints(this, other, 0x46);
  }
  ne(other: Int): I32 {
    return ints(this, other, 0x47);
  }
  lt(other: Int): I32 {
    return ints(this, other, 0x48);
  }
  ltU(other: Int): I32 {
    return ints(this, other, 0x49);
  }
  gt(other: Int): I32 {
    return ints(this, other, 0x4a);
  }
  gtU(other: Int): I32 {
    return ints(this, other, 0x4b);
  }
  le(other: Int): I32 {
    return ints(this, other, 0x4c);
  }
  leU(other: Int): I32 {
    return ints(this, other, 0x4d);
  }
  ge(other: Int): I32 {
    return ints(this, other, 0x4e);
  }
  geU(other: Int): I32 {
    return ints(this, other, 0x4f);
  }
  /** 1 where it is 0, else 0. */
  not(): I32 {
    return new I32([this.code, 0x45]);
  }
  /** Leading zeros. */
  clz(): I32 {
    return new I32([this.code, 0x67]);
  }
  /** Trailing zeros. */
  ctz(): I32 {
    return new I32([this.code, 0x68]);
  }
  popcount(): I32 {
    return new I32([this.code, 0x69]);
  }
  /** `this` where `condition` holds, else `other`; both are computed. */
  select(condition: I32, other: Int): I32 {
    return new I32([this.code, intCode(other), condition.code, 0x1b]);
  }
  /** The smaller, both unsigned. Uses both twice. */
  minU(other: I32): I32 {
    return this.select(this.ltU(other), other);
  }
  toF32(): F32 {
    return new F32([this.code, 0xb2]);
  }
  toF32U(): F32 {
    return new F32([this.code, 0xb3]);
  }
  toF64(): F64 {
    return new F64([this.code, 0xb7]);
  }
  toF64U(): F64 {
    return new F64([this.code, 0xb8]);
  }
  /** The same bits. */
  asF32(): F32 {
    return new F32([this.code, 0xbe]);
  }
}

/** A 32-bit float. */
export class F32 extends Value {
  get type(): TypeName {
    return "f32";
  }

  static const(value: number): F32 {
    return new F32(floatCode(value));
  }
  static load(address: Int, offset = 0): F32 {
    return new F32(loadCode([0x2a], address, offset));
  }

  add(other: Float): F32 {
    return floats(this, other, 0x92);
  }
  sub(other: Float): F32 {
    return floats(this, other, 0x93);
  }
  mul(other: Float): F32 {
    return floats(this, other, 0x94);
  }
  div(other: Float): F32 {
    return floats(this, other, 0x95);
  }
  /** NaN where either is. */
  min(other: Float): F32 {
    return floats(this, other, 0x96);
  }
  /** NaN where either is. */
  max(other: Float): F32 {
    return floats(this, other, 0x97);
  }
  copySign(other: Float): F32 {
    return floats(this, other, 0x98);
  }
  abs(): F32 {
    return new F32([this.code, 0x8b]);
  }
  neg(): F32 {
    return new F32([this.code, 0x8c]);
  }
  ceil(): F32 {
    return new F32([this.code, 0x8d]);
  }
  floor(): F32 {
    return new F32([this.code, 0x8e]);
  }
  trunc(): F32 {
    return new F32([this.code, 0x8f]);
  }
  /** To the nearest integer, ties to even. */
  nearest(): F32 {
    return new F32([this.code, 0x90]);
  }
  sqrt(): F32 {
    return new F32([this.code, 0x91]);
  }
  eq(other: Float): I32 {
    return floatTest(this, other, 0x5b);
  }
  ne(other: Float): I32 {
    return floatTest(this, other, 0x5c);
  }
  lt(other: Float): I32 {
    return floatTest(this, other, 0x5d);
  }
  gt(other: Float): I32 {
    return floatTest(this, other, 0x5e);
  }
  le(other: Float): I32 {
    return floatTest(this, other, 0x5f);
  }
  ge(other: Float): I32 {
    return floatTest(this, other, 0x60);
  }
  /** `this` where `condition` holds, else `other`; both are computed. */
  select(condition: I32, other: Float): F32 {
    return new F32([this.code, floatCode(other), condition.code, 0x1b]);
  }
  /** Towards zero; limited to the range, NaN to 0. */
  toI32(): I32 {
    return new I32([this.code, 0xfc, 0]);
  }
  /** Towards zero; limited to the range, NaN to 0. */
  toU32(): I32 {
    return new I32([this.code, 0xfc, 1]);
  }
  toF64(): F64 {
    return new F64([this.code, 0xbb]);
  }
  /** The same bits. */
  asI32(): I32 {
    return new I32([this.code, 0xbc]);
  }
}

/** An operand of type f64. */
export type Double = F64 | number;

function doubleCode(value: Double): Code {
  return typeof value === "number" ? [0x44, ...float64(value)] : value.code;
}

/** A 64-bit float. */
export class F64 extends Value {
  get type(): TypeName {
    return "f64";
  }

  static const(value: number): F64 {
    return new F64(doubleCode(value));
  }
  static load(address: Int, offset = 0): F64 {
    return new F64(loadCode([0x2b], address, offset));
  }

  add(other: Double): F64 {
    return doubles(this, other, 0xa0);
  }
  sub(other: Double): F64 {
    return doubles(this, other, 0xa1);
  }
  mul(other: Double): F64 {
    return doubles(this, other, 0xa2);
  }
  div(other: Double): F64 {
    return doubles(this, other, 0xa3);
  }
  min(other: Double): F64 {
    return doubles(this, other, 0xa4);
  }
  max(other: Double): F64 {
    return doubles(this, other, 0xa5);
  }
  abs(): F64 {
    return new F64([this.code, 0x99]);
  }
  neg(): F64 {
    return new F64([this.code, 0x9a]);
  }
  floor(): F64 {
    return new F64([this.code, 0x9c]);
  }
  trunc(): F64 {
    return new F64([this.code, 0x9d]);
  }
  nearest(): F64 {
    return new F64([this.code, 0x9e]);
  }
  sqrt(): F64 {
    return new F64([this.code, 0x9f]);
  }
  eq(other: Double): I32 {
    return doubleTest(this, other, 0x61);
  }
  ne(other: Double): I32 {
    return doubleTest(this, other, 0x62);
  }
  lt(other: Double): I32 {
    return doubleTest(this, other, 0x63);
  }
  gt(other: Double): I32 {
    return doubleTest(this, other, 0x64);
  }
  le(other: Double): I32 {
    return doubleTest(this, other, 0x65);
  }
  ge(other: Double): I32 {
    return doubleTest(this, other, 0x66);
  }
  /** `this` where `condition` holds, else `other`; both are computed. */
  select(condition: I32, other: Double): F64 {
    return new F64([this.code, doubleCode(other), condition.code, 0x1b]);
  }
  toF32(): F32 {
    return new F32([this.code, 0xb6]);
  }
  /** Towards zero; limited to the range, NaN to 0. */
  toI32(): I32 {
    return new I32([this.code, 0xfc, 2]);
  }
  /** Towards zero; limited to the range, NaN to 0. */
  toU32(): I32 {
    return new I32([this.code, 0xfc, 3]);
  }
}

// Functions, not private methods: each value of a class that has some pays for them when it is made.

function ints(value: I32, other: Int, opcode: number): I32 {
  return new I32([value.code, intCode(other), opcode]);
}

function floats(value: F32, other: Float, opcode: number): F32 {
  return new F32([value.code, floatCode(other), opcode]);
}

function floatTest(value: F32, other: Float, opcode: number): I32 {
  return new I32([value.code, floatCode(other), opcode]);
}

function doubles(value: F64, other: Double, opcode: number): F64 {
  return new F64([value.code, doubleCode(other), opcode]);
}

function doubleTest(value: F64, other: Double, opcode: number): I32 {
  return new I32([value.code, doubleCode(other), opcode]);
}
