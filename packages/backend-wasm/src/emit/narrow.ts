import { simd } from "./code.ts";
import { type Int, intCode, loadCode } from "./scalars.ts";
import { Vector, loadVector } from "./vector.ts";
import { I32x4 } from "./wide.ts";

/** Eight 16-bit integers. */
export class I16x8 extends Vector {
  static splat(value: Int): I16x8 {
    return new I16x8([intCode(value), simd(0x10)]);
  }
  /** The lanes of one, then those of the other, limited to 16 bits. */
  static narrowed(low: I32x4, high: I32x4): I16x8 {
    return new I16x8([low.code, high.code, simd(0x85)]);
  }
  static load(address: Int, offset = 0): I16x8 {
    return loadVector(I16x8, address, offset);
  }
  /** Eight signed bytes from memory. */
  static load8x8(address: Int, offset = 0): I16x8 {
    return new I16x8(loadCode(simd(0x01), address, offset));
  }
  /** Eight unsigned bytes from memory. */
  static load8x8U(address: Int, offset = 0): I16x8 {
    return new I16x8(loadCode(simd(0x02), address, offset));
  }

  add(other: I16x8): I16x8 {
    return shorts(this, other, 0x8e);
  }
  sub(other: I16x8): I16x8 {
    return shorts(this, other, 0x91);
  }
  mul(other: I16x8): I16x8 {
    return shorts(this, other, 0x95);
  }
  and(other: I16x8): I16x8 {
    return shorts(this, other, 0x4e);
  }
  shl(bits: Int): I16x8 {
    return new I16x8([this.code, intCode(bits), simd(0x8b)]);
  }
  shr(bits: Int): I16x8 {
    return new I16x8([this.code, intCode(bits), simd(0x8c)]);
  }
  shrU(bits: Int): I16x8 {
    return new I16x8([this.code, intCode(bits), simd(0x8d)]);
  }
  /** Sums of the products of neighbours. */
  dot(other: I16x8): I32x4 {
    return new I32x4([this.code, other.code, simd(0xba)]);
  }
  /** The first four lanes. */
  extendLow(): I32x4 {
    return new I32x4([this.code, simd(0xa7)]);
  }
  /** The last four lanes. */
  extendHigh(): I32x4 {
    return new I32x4([this.code, simd(0xa8)]);
  }
  /** Sums of neighbours. */
  pairSums(): I32x4 {
    return new I32x4([this.code, simd(0x7e)]);
  }
  extendLowU(): I32x4 {
    return new I32x4([this.code, simd(0xa9)]);
  }
  extendHighU(): I32x4 {
    return new I32x4([this.code, simd(0xaa)]);
  }
}

/** Sixteen bytes. */
export class I8x16 extends Vector {
  static splat(value: Int): I8x16 {
    return new I8x16([intCode(value), simd(0x0f)]);
  }
  /** The lanes of one, then those of the other, limited to −128 … 127. */
  static narrowed(low: I16x8, high: I16x8): I8x16 {
    return new I8x16([low.code, high.code, simd(0x65)]);
  }
  static load(address: Int, offset = 0): I8x16 {
    return loadVector(I8x16, address, offset);
  }
  /** Four bytes from memory, four times. */
  static load32Splat(address: Int, offset = 0): I8x16 {
    return new I8x16(loadCode(simd(0x09), address, offset));
  }
  /** Eight bytes from memory, twice. */
  static load64Splat(address: Int, offset = 0): I8x16 {
    return new I8x16(loadCode(simd(0x0a), address, offset));
  }

  add(other: I8x16): I8x16 {
    return bytes(this, other, 0x6e);
  }
  sub(other: I8x16): I8x16 {
    return bytes(this, other, 0x71);
  }
  and(other: I8x16): I8x16 {
    return bytes(this, other, 0x4e);
  }
  or(other: I8x16): I8x16 {
    return bytes(this, other, 0x50);
  }
  xor(other: I8x16): I8x16 {
    return bytes(this, other, 0x51);
  }
  shl(bits: Int): I8x16 {
    return new I8x16([this.code, intCode(bits), simd(0x6b)]);
  }
  shr(bits: Int): I8x16 {
    return new I8x16([this.code, intCode(bits), simd(0x6c)]);
  }
  shrU(bits: Int): I8x16 {
    return new I8x16([this.code, intCode(bits), simd(0x6d)]);
  }
  /** Sums of neighbours. */
  pairSums(): I16x8 {
    return new I16x8([this.code, simd(0x7c)]);
  }
  /** The bytes that `places` names, 0 where it names none of 0 … 15. */
  swizzle(places: I8x16): I8x16 {
    return bytes(this, places, 0x0e);
  }
  /** The first eight lanes. */
  extendLow(): I16x8 {
    return new I16x8([this.code, simd(0x87)]);
  }
  /** The last eight lanes. */
  extendHigh(): I16x8 {
    return new I16x8([this.code, simd(0x88)]);
  }
  extendLowU(): I16x8 {
    return new I16x8([this.code, simd(0x89)]);
  }
  extendHighU(): I16x8 {
    return new I16x8([this.code, simd(0x8a)]);
  }
}

function shorts(value: I16x8, other: I16x8, opcode: number): I16x8 {
  return new I16x8([value.code, other.code, simd(opcode)]);
}

function bytes(value: I8x16, other: I8x16, opcode: number): I8x16 {
  return new I8x16([value.code, other.code, simd(opcode)]);
}
