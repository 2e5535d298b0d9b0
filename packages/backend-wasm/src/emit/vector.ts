import { VectorConstant, simd } from "./code.ts";
import { type Int, type Kind, type TypeName, I32, Value, loadCode } from "./scalars.ts";

/** 128 bits, seen as lanes by one of its subclasses; `as` changes the view without code. */
export abstract class Vector extends Value {
  get type(): TypeName {
    return "v128";
  }

  /** The same bits as other lanes. */
  as<V extends Vector>(kind: Kind<V>): V {
    return new kind(this.code, this.slot);
  }
  /** 1 if any bit is set. */
  anyTrue(): I32 {
    return new I32([this.code, simd(0x53)]);
  }
}

/** 128 bits from memory. */
export function loadVector<V extends Vector>(kind: Kind<V>, address: Int, offset = 0): V {
  return new kind(loadCode(simd(0x00), address, offset));
}

/** 16 bytes as a constant. */
export function vectorConst<V extends Vector>(kind: Kind<V>, bytes: readonly number[]): V {
  return new kind(new VectorConstant(bytes));
}

/** Bytes of two vectors: `places` names 16 bytes, 0 … 15 of `a` and 16 … 31 of `b`. */
export function shuffle<V extends Vector>(a: V, b: V, places: readonly number[], kind: Kind<V>): V {
  return new kind([a.code, b.code, simd(0x0d), places]);
}

/** Bits of `a` where `mask` has ones, of `b` elsewhere. */
export function bitSelect<V extends Vector>(mask: Vector, a: V, b: V, kind: Kind<V>): V {
  return new kind([a.code, b.code, mask.code, simd(0x52)]);
}
