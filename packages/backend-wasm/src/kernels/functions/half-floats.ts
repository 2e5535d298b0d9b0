import type { Body } from "../../emit/body.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";

/** Bits of an f32's significand that f16 has no room for. */
const F16_DROPPED = 13;
const SIGN = -(2 ** 31);

/** Values of the f16 patterns in four words. Exact. */
export function fromF16x4(body: Body, patterns: I32x4): F32x4 {
  const bits = body.let(patterns);
  const size = body.let(bits.and(I32x4.const(0x7fff)));
  // The exponent's bias is another one: 2^112 makes up for it, for subnormal numbers too.
  const scaled = size
    .shl(F16_DROPPED)
    .as(F32x4)
    .mul(F32x4.const(2 ** 112))
    .as(I32x4);
  const infinite = size.gt(I32x4.const(0x7bff)).and(I32x4.const(0x7f800000));
  return scaled
    .or(infinite)
    .or(bits.shl(16).and(I32x4.const(SIGN)))
    .as(F32x4);
}

/** Values of the bf16 patterns in four words. Exact. */
export function fromBF16x4(patterns: I32x4): F32x4 {
  return patterns.shl(16).as(F32x4);
}

/** f16 patterns nearest to values, ties to even; ∞ beyond, and one pattern for NaN. */
export function toF16x4(body: Body, values: F32x4): I32x4 {
  const value = body.let(values);
  const size = body.let(value.abs().as(I32x4));
  const bits = body.let(value.as(I32x4));
  // Bias from 127 to 15, half of what is dropped but for a bit, and that bit where it is a tie to odd.
  const odd = bits.shrU(F16_DROPPED).and(I32x4.const(1));
  const rebias = (15 - 127) * 2 ** 23 + 2 ** (F16_DROPPED - 1) - 1;
  const normal = size.add(I32x4.const(rebias)).add(odd).shrU(F16_DROPPED);
  // Below 2^-14 the steps are 2^-24, as those of ½ … 1 are.
  const half = F32x4.const(0.5);
  const subnormal = size.as(F32x4).add(half).as(I32x4).sub(half.as(I32x4));
  const tiny = size.lt(F32x4.const(2 ** -14).as(I32x4));
  const huge = size.ge(F32x4.const(65_520).as(I32x4));
  const rounded = body.let(tiny.chooseInt(subnormal, normal));
  const signed = body.let(
    huge.chooseInt(I32x4.const(0x7c00), rounded).or(bits.shrU(16).and(I32x4.const(0x8000))),
  );
  return value.ne(value).chooseInt(I32x4.const(0x7e00), signed);
}

/** bf16 patterns nearest to values, ties to even; ∞ beyond, and one pattern for NaN. */
export function toBF16x4(body: Body, values: F32x4): I32x4 {
  const value = body.let(values);
  const bits = body.let(value.as(I32x4));
  const odd = bits.shrU(16).and(I32x4.const(1));
  const rounded = bits.add(I32x4.const(0x7fff)).add(odd).shrU(16);
  return value.ne(value).chooseInt(I32x4.const(0x7fc0), rounded);
}
