import { float32, simd } from "./code.ts";
import { type Float, type Int, F32, I32, floatCode, intCode, loadCode } from "./scalars.ts";
import { Vector, loadVector, vectorConst, bitSelect } from "./vector.ts";

function lanes32(bytes: readonly number[]): number[] {
  return [...bytes, ...bytes, ...bytes, ...bytes];
}

/** Four floats. */
export class F32x4 extends Vector {
  static const(value: number): F32x4 {
    return vectorConst(F32x4, lanes32(float32(value)));
  }
  static splat(value: F32): F32x4 {
    return new F32x4([value.code, simd(0x13)]);
  }
  static load(address: Int, offset = 0): F32x4 {
    return loadVector(F32x4, address, offset);
  }
  /** One float from memory in every lane. */
  static loadSplat(address: Int, offset = 0): F32x4 {
    return new F32x4(loadCode(simd(0x09), address, offset));
  }

  add(other: F32x4): F32x4 {
    return floats(this, other, 0xe4);
  }
  sub(other: F32x4): F32x4 {
    return floats(this, other, 0xe5);
  }
  mul(other: F32x4): F32x4 {
    return floats(this, other, 0xe6);
  }
  div(other: F32x4): F32x4 {
    return floats(this, other, 0xe7);
  }
  /** NaN where either is. */
  min(other: F32x4): F32x4 {
    return floats(this, other, 0xe8);
  }
  /** NaN where either is. */
  max(other: F32x4): F32x4 {
    return floats(this, other, 0xe9);
  }
  /** `other < this ? other : this`: `this` where either is NaN. */
  pmin(other: F32x4): F32x4 {
    return floats(this, other, 0xea);
  }
  /** `this < other ? other : this`: `this` where either is NaN. */
  pmax(other: F32x4): F32x4 {
    return floats(this, other, 0xeb);
  }
  abs(): F32x4 {
    return float(this, 0xe0);
  }
  neg(): F32x4 {
    return float(this, 0xe1);
  }
  sqrt(): F32x4 {
    return float(this, 0xe3);
  }
  ceil(): F32x4 {
    return float(this, 0x67);
  }
  floor(): F32x4 {
    return float(this, 0x68);
  }
  trunc(): F32x4 {
    return float(this, 0x69);
  }
  /** To the nearest integer, ties to even. */
  nearest(): F32x4 {
    return float(this, 0x6a);
  }
  eq(other: F32x4): I32x4 {
    return floatTest(this, other, 0x41);
  }
  ne(other: F32x4): I32x4 {
    return floatTest(this, other, 0x42);
  }
  lt(other: F32x4): I32x4 {
    return floatTest(this, other, 0x43);
  }
  gt(other: F32x4): I32x4 {
    return floatTest(this, other, 0x44);
  }
  le(other: F32x4): I32x4 {
    return floatTest(this, other, 0x45);
  }
  ge(other: F32x4): I32x4 {
    return floatTest(this, other, 0x46);
  }
  lane(index: number): F32 {
    return new F32([this.code, simd(0x1f), index]);
  }
  /** With another value in a lane. */
  withLane(index: number, value: Float): F32x4 {
    return new F32x4([this.code, floatCode(value), simd(0x20), index]);
  }
  /** Towards zero; limited to the range, NaN to 0. */
  toI32x4(): I32x4 {
    return new I32x4([this.code, simd(0xf8)]);
  }
  /** Towards zero; limited to the range, NaN to 0. */
  toU32x4(): I32x4 {
    return new I32x4([this.code, simd(0xf9)]);
  }
}

/** Four 32-bit integers; comparisons give −1 or 0 in each. */
export class I32x4 extends Vector {
  static const(value: number): I32x4 {
    return vectorConst(I32x4, lanes32([...new Uint8Array(Int32Array.of(value).buffer)]));
  }
  static splat(value: Int): I32x4 {
    return new I32x4([intCode(value), simd(0x11)]);
  }
  static load(address: Int, offset = 0): I32x4 {
    return loadVector(I32x4, address, offset);
  }

  add(other: I32x4): I32x4 {
    return ints(this, other, 0xae);
  }
  sub(other: I32x4): I32x4 {
    return ints(this, other, 0xb1);
  }
  mul(other: I32x4): I32x4 {
    return ints(this, other, 0xb5);
  }
  min(other: I32x4): I32x4 {
    return ints(this, other, 0xb6);
  }
  max(other: I32x4): I32x4 {
    return ints(this, other, 0xb8);
  }
  and(other: I32x4): I32x4 {
    return ints(this, other, 0x4e);
  }
  /** `this` without the bits of `other`. */
  andNot(other: I32x4): I32x4 {
    return ints(this, other, 0x4f);
  }
  or(other: I32x4): I32x4 {
    return ints(this, other, 0x50);
  }
  xor(other: I32x4): I32x4 {
    return ints(this, other, 0x51);
  }
  /** Every bit turned. */
  not(): I32x4 {
    return new I32x4([this.code, simd(0x4d)]);
  }
  abs(): I32x4 {
    return new I32x4([this.code, simd(0xa0)]);
  }
  neg(): I32x4 {
    return new I32x4([this.code, simd(0xa1)]);
  }
  shl(bits: Int): I32x4 {
    return new I32x4([this.code, intCode(bits), simd(0xab)]);
  }
  shr(bits: Int): I32x4 {
    return new I32x4([this.code, intCode(bits), simd(0xac)]);
  }
  shrU(bits: Int): I32x4 {
    return new I32x4([this.code, intCode(bits), simd(0xad)]);
  }
  eq(other: I32x4): I32x4 {
    return ints(this, other, 0x37);
  }
  ne(other: I32x4): I32x4 {
    return ints(this, other, 0x38);
  }
  lt(other: I32x4): I32x4 {
    return ints(this, other, 0x39);
  }
  ltU(other: I32x4): I32x4 {
    return ints(this, other, 0x3a);
  }
  gt(other: I32x4): I32x4 {
    return ints(this, other, 0x3b);
  }
  gtU(other: I32x4): I32x4 {
    return ints(this, other, 0x3c);
  }
  le(other: I32x4): I32x4 {
    return ints(this, other, 0x3d);
  }
  leU(other: I32x4): I32x4 {
    return ints(this, other, 0x3e);
  }
  ge(other: I32x4): I32x4 {
    return ints(this, other, 0x3f);
  }
  geU(other: I32x4): I32x4 {
    return ints(this, other, 0x40);
  }
  /** Lanes of `a` where this mask is set, of `b` elsewhere. */
  choose(a: F32x4, b: F32x4): F32x4 {
    return bitSelect(this, a, b, F32x4);
  }
  /** Lanes of `a` where this mask is set, of `b` elsewhere. */
  chooseInt(a: I32x4, b: I32x4): I32x4 {
    return bitSelect(this, a, b, I32x4);
  }
  /** 1 if no lane is 0. */
  allTrue(): I32 {
    return new I32([this.code, simd(0xa3)]);
  }
  /** The sign bits of the lanes in bits 0 … 3. */
  bitmask(): I32 {
    return new I32([this.code, simd(0xa4)]);
  }
  lane(index: number): I32 {
    return new I32([this.code, simd(0x1b), index]);
  }
  withLane(index: number, value: Int): I32x4 {
    return new I32x4([this.code, intCode(value), simd(0x1c), index]);
  }
  toF32x4(): F32x4 {
    return new F32x4([this.code, simd(0xfa)]);
  }
  toF32x4U(): F32x4 {
    return new F32x4([this.code, simd(0xfb)]);
  }
}

function floats(value: F32x4, other: F32x4, opcode: number): F32x4 {
  return new F32x4([value.code, other.code, simd(opcode)]);
}

function float(value: F32x4, opcode: number): F32x4 {
  return new F32x4([value.code, simd(opcode)]);
}

function floatTest(value: F32x4, other: F32x4, opcode: number): I32x4 {
  return new I32x4([value.code, other.code, simd(opcode)]);
}

function ints(value: I32x4, other: I32x4, opcode: number): I32x4 {
  return new I32x4([value.code, other.code, simd(opcode)]);
}
