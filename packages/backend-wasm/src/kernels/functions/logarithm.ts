import type { Body } from "../../emit/body.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";
import { LOG_2_EXCESS, LOG_2_HIGH, expNormal4 } from "./exponential.ts";
import { polynomial } from "./polynomial.ts";

const SMALLEST_NORMAL = 2 ** -126;
/** What makes subnormal numbers normal ones. */
const LIFT_BITS = 23;
/** The bits of √½. */
const ROOT_HALF_BITS = 0x3f3504f3;
/** The bits of a float's exponent and sign. */
const EXPONENT_MASK = 0xff800000 | 0;

/** x = (1 + fraction) · 2^exponent with 1 + fraction from √½ to √2, for positive finite x. */
export function logarithmParts(
  body: Body,
  x: F32x4,
): { readonly fraction: F32x4; readonly exponent: F32x4 } {
  const tiny = body.let(x.lt(F32x4.const(SMALLEST_NORMAL)));
  const lifted = x.mul(F32x4.const(2 ** LIFT_BITS));
  const normal = body.let(tiny.choose(lifted, x).as(I32x4));
  const steps = body.let(normal.sub(I32x4.const(ROOT_HALF_BITS)).and(I32x4.const(EXPONENT_MASK)));
  const lift = tiny.and(F32x4.const(LIFT_BITS).as(I32x4)).as(F32x4);
  return {
    fraction: body.let(normal.sub(steps).as(F32x4).sub(F32x4.const(1))),
    exponent: body.let(steps.shr(23).toF32x4().sub(lift)),
  };
}

/** log x, which is near `fraction`, plus a small `correction`; all but 0, ∞ and negative numbers. */
function logarithmOf(body: Body, x: F32x4, correction?: F32x4): F32x4 {
  const { fraction, exponent } = logarithmParts(body, x);
  const square = body.let(fraction.mul(fraction));
  const p = polynomial(
    body,
    fraction,
    [
      0.06746591628, -0.1167563871, 0.1188817769, -0.124055922, 0.1421955079, -0.1666799635,
      0.2000211924, -0.2500000894, 0.3333331347,
    ],
  );
  const excess = body.let(exponent.mul(F32x4.const(-LOG_2_EXCESS)));
  if (correction) body.set(excess, excess.add(correction));
  const cubic = body.let(body.madd(fraction.mul(square), p, excess));
  const series = body.nmadd(F32x4.const(0.5), square, cubic);
  return body.madd(exponent, F32x4.const(LOG_2_HIGH), fraction.add(series));
}

/** The value at 0, ∞ and below 0, where `y` is that of other numbers; `x` is a local. */
function withLimits(x: F32x4, y: F32x4): F32x4 {
  const infinite = x.eq(F32x4.const(Number.POSITIVE_INFINITY));
  const atZero = F32x4.const(Number.NEGATIVE_INFINITY);
  const outside = x.eq(F32x4.const(0)).choose(atZero, F32x4.const(Number.NaN));
  return x.gt(F32x4.const(0)).choose(infinite.choose(x, y), outside);
}

/** The natural logarithm; −∞ at 0, NaN below. */
export function log4(body: Body, x: F32x4): F32x4 {
  const value = body.let(x);
  return withLimits(value, body.let(logarithmOf(body, value)));
}

/** log(1 + x), also where 1 + x would lose x. */
export function log1p4(body: Body, x: F32x4): F32x4 {
  const value = body.let(x);
  const one = F32x4.const(1);
  const sum = body.let(value.add(one));
  // What the sum lost, exactly: the larger of the two terms is taken from it first.
  const large = value.gt(one);
  const lost = large.choose(one.sub(sum.sub(value)), value.sub(sum.sub(one)));
  const y = body.let(logarithmOf(body, sum, body.let(lost.div(sum))));
  // −0 stays −0.
  return value.eq(F32x4.const(0)).choose(value, withLimits(sum, y));
}

/** log(1 + e^x); x itself where it is large. */
export function softplus4(body: Body, x: F32x4): F32x4 {
  const value = body.let(x);
  const power = expNormal4(body, value.abs().neg());
  return value.pmax(F32x4.const(0)).add(log1p4(body, power));
}
