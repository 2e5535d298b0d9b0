import type { Body } from "../../emit/body.ts";
import type { Int } from "../../emit/scalars.ts";
import { F32x4, I16x8, I32x4, I8x16 } from "../../emit/vectors.ts";

/** Dtypes whose elements a right factor may have. */
export type FactorDType = "f32" | "f16" | "bf16";

/** All of them. */
export const FACTOR_DTYPES: readonly FactorDType[] = ["f32", "f16", "bf16"];

/** Bytes of an element. */
export function factorBytes(dtype: FactorDType): number {
  return dtype === "f32" ? 4 : 2;
}

/** Four neighbouring elements as floats. */
export function loadFour(body: Body, dtype: FactorDType, address: Int, offset = 0): F32x4 {
  if (dtype === "f32") return F32x4.load(address, offset);
  const words = body.let(I8x16.load64Splat(address, offset).as(I16x8).extendLowU());
  return dtype === "bf16" ? words.shl(16).as(F32x4) : fromHalves(body, words);
}

/** The exponent of half floats is moved to its place by this factor; subnormals come out right. */
const HALF_REBIAS = 2 ** 112;

function fromHalves(body: Body, words: I32x4): F32x4 {
  const magnitude = body.let(words.and(I32x4.const(0x7fff)).shl(13));
  const finite = magnitude.as(F32x4).mul(F32x4.const(HALF_REBIAS)).as(I32x4);
  const special = magnitude.or(I32x4.const(0x7f800000));
  const isSpecial = magnitude.geU(I32x4.const(0x7c00 << 13));
  const sign = words.and(I32x4.const(0x8000)).shl(16);
  return isSpecial.chooseInt(special, finite).or(sign).as(F32x4);
}
