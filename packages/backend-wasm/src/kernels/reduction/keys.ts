import type { Body } from "../../emit/body.ts";
import { type F32, I32 } from "../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";

/** The key of NaN: below those of all numbers. */
const NAN_KEY = -0x7fffffff;
/** A key below all others: of what is not there, or may not be chosen. */
export const NO_KEY = -0x80000000;

/** Bits of a quiet NaN. */
const NAN_BITS = 0x7fc00000;

/**
 * Integers in the order of floats: NaN is {@link NAN_KEY}, and −0 is 0. Comparing them asks nothing of
 * a NaN.
 */
export function keysOf(body: Body, floats: F32x4): I32x4 {
  const plain = body.let(floats.add(F32x4.const(0)));
  const bits = plain.as(I32x4);
  const keys = bits.xor(bits.shr(31).shrU(1));
  return plain.eq(plain).chooseInt(keys, I32x4.const(NAN_KEY));
}

/** The floats of {@link keysOf}. */
export function floatsOf(body: Body, keys: I32x4): F32x4 {
  const local = body.let(keys);
  const bits = local.xor(local.shr(31).shrU(1));
  return local.gt(I32x4.const(NAN_KEY)).chooseInt(bits, I32x4.const(NAN_BITS)).as(F32x4);
}

/** The key of one float. */
export function keyOf(body: Body, float: F32): I32 {
  const plain = body.let(float.add(0));
  const bits = body.let(plain.asI32());
  return bits.xor(bits.shr(31).shrU(1)).select(plain.eq(plain), I32.const(NAN_KEY));
}
