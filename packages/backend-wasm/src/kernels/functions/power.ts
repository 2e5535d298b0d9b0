import type { Body } from "../../emit/body.ts";
import { F32, I32 } from "../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";
import { rotate } from "./lanes.ts";
import { logarithmParts } from "./logarithm.ts";
import { doublePolynomial } from "./polynomial.ts";

/** atanh s = s · (1 + s²/3 + s⁴/5 + …), in s². */
const ATANH = /*#__PURE__*/ [17, 15, 13, 11, 9, 7, 5, 3, 1].map((odd) => 1 / odd);
/** 2^f as a series in f, of which |f| ≤ ½. */
const POWER_OF_TWO = /*#__PURE__*/ Array.from({ length: 13 }, (_, index) => {
  let term = 1;
  for (let power = 1; power <= 12 - index; power++) term *= Math.LN2 / power;
  return term;
});
/** Beyond these exponents the result is ∞ or 0. */
const HIGHEST = 130;
const LOWEST = -160;

/**
 * a^b: computed in float64, and so right to the last place. NaN for a < 0 unless b is whole; 1 for
 * b = 0; NaN for |a| = 1 with infinite b.
 */
export function pow4(body: Body, a: F32x4, b: F32x4): F32x4 {
  const base = body.let(a);
  const exponent = body.let(b);
  const size = body.let(base.abs());
  const logarithm = logarithmParts(body, size);
  const infinity = F32x4.const(Number.POSITIVE_INFINITY);
  const { fraction } = logarithm;
  // An infinite logarithm stands in its whole part.
  const whole = body.let(size.eq(infinity).choose(infinity, logarithm.exponent));
  body.set(whole, size.eq(F32x4.const(0)).choose(infinity.neg(), whole));
  body.set(whole, size.ne(size).choose(size, whole));
  const powers = powersOf(body, fraction, whole, exponent);
  return withSigns(body, base, exponent, powers);
}

/** 2^(exponent · (whole + log₂(1 + fraction))), lane by lane. */
function powersOf(body: Body, fraction: F32x4, whole: F32x4, exponent: F32x4): F32x4 {
  const result = body.let(F32x4.const(0));
  const count = body.int(0);
  body.repeat(() => {
    const f = body.let(fraction.lane(0).toF64());
    const s = body.let(f.div(f.add(2)));
    const square = body.let(s.mul(s));
    const series = doublePolynomial(square, ATANH)
      .mul(s)
      .mul(2 * Math.LOG2E);
    const power = body.let(series.add(whole.lane(0).toF64()).mul(exponent.lane(0).toF64()));
    body.set(power, power.min(HIGHEST).max(LOWEST));
    const near = body.let(power.nearest());
    body.set(power, power.sub(near));
    const steps = body.let(near.toI32());
    const half = body.let(steps.shr(1));
    const scale = (by: I32): F32 => by.add(127).shl(23).asF32();
    const scaled = doublePolynomial(power, POWER_OF_TWO)
      .mul(scale(half).toF64())
      .mul(scale(steps.sub(half)).toF64());
    body.set(result, rotate(result, scaled.toF32()));
    body.set(fraction, rotate(fraction, F32.const(0)));
    body.set(whole, rotate(whole, F32.const(0)));
    body.set(exponent, rotate(exponent, exponent.lane(0)));
    body.increment(count, 1);
    return count.ltU(I32.const(4));
  });
  return result;
}

/** What negative bases and the exponent 0 change; all are locals. */
function withSigns(body: Body, base: F32x4, exponent: F32x4, power: F32x4): F32x4 {
  const whole = body.let(exponent.floor().eq(exponent));
  const half = body.let(exponent.mul(F32x4.const(0.5)));
  const odd = whole.and(half.floor().ne(half));
  const negative = body.let(base.as(I32x4).shr(31));
  const signed = power.as(I32x4).xor(negative.and(odd).and(I32x4.const(-(2 ** 31))));
  const undefinedPower = base.lt(F32x4.const(0)).andNot(whole);
  // An infinite base has powers of every exponent.
  const finite = base.ne(F32x4.const(Number.NEGATIVE_INFINITY));
  const value = undefinedPower.and(finite).choose(F32x4.const(Number.NaN), signed.as(F32x4));
  return exponent.eq(F32x4.const(0)).choose(F32x4.const(1), value);
}
