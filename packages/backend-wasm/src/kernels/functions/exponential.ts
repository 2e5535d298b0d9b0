/**
 * Functions of four floats: within two units in the last place of the true value, NaN for NaN, limits
 * at infinities. Their operands may be any expressions. The polynomials are minimax fits made for these
 * ranges.
 */
import type { Body } from "../../emit/body.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";
import { polynomial } from "./polynomial.ts";

/** Adding it rounds to a whole number, whose bits are then the lowest of the sum. */
const ROUNDER = 1.5 * 2 ** 23;
const ROUNDER_BITS = 0x4b400000;
/** log 2 in two parts; the first has 9 bits, so that its product with an exponent is exact. */
export const LOG_2_HIGH = 0.693359375;
/** What {@link LOG_2_HIGH} is too large. */
export const LOG_2_EXCESS = 0.00021219444;
const BIAS = 127;
const MANTISSA_BITS = 23;

/** e^x = mantissa · 2^exponent, for x where the exponent has few bits. */
function exponentialParts(
  body: Body,
  x: F32x4,
): { readonly mantissa: F32x4; readonly exponent: I32x4 } {
  const shifted = body.let(body.madd(x, F32x4.const(Math.LOG2E), F32x4.const(ROUNDER)));
  const k = body.let(shifted.sub(F32x4.const(ROUNDER)));
  const r = body.let(body.nmadd(k, F32x4.const(LOG_2_HIGH), x));
  body.set(r, body.madd(k, F32x4.const(LOG_2_EXCESS), r));
  const p = polynomial(
    body,
    r,
    [0.001381455921, 0.008368735202, 0.04166838899, 0.1666652113, 0.4999999404],
  );
  const mantissa = body.let(body.madd(p, r.mul(r), r).add(F32x4.const(1)));
  return { mantissa, exponent: body.let(shifted.as(I32x4).sub(I32x4.const(ROUNDER_BITS))) };
}

function powerOfTwo(exponent: I32x4): F32x4 {
  return exponent.add(I32x4.const(BIAS)).shl(MANTISSA_BITS).as(F32x4);
}

/** e^x, over the whole range of floats. */
export function exp4(body: Body, x: F32x4): F32x4 {
  // Beyond these bounds the result is ∞ or 0. Where x is NaN, pmin and pmax leave it.
  const bounded = body.let(x.pmin(F32x4.const(89)).pmax(F32x4.const(-104)));
  const { mantissa, exponent } = exponentialParts(body, bounded);
  // Two factors: one alone would leave the exponents that a float has.
  const half = body.let(exponent.shr(1));
  return mantissa.mul(powerOfTwo(half)).mul(powerOfTwo(exponent.sub(half)));
}

/**
 * e^x for results that are normal numbers: 0 below −87.68, ∞ above 88.37. A little faster than
 * {@link exp4}.
 */
export function expNormal4(body: Body, x: F32x4): F32x4 {
  // The exponents −127 and 128 make the factors 0 and ∞.
  const bounded = body.let(x.pmin(F32x4.const(88.9)).pmax(F32x4.const(-88)));
  const { mantissa, exponent } = exponentialParts(body, bounded);
  return mantissa.mul(powerOfTwo(exponent));
}

/** 1 / (1 + e^−x); 0 below −88.37, where it is no normal number. */
export function sigmoid4(body: Body, x: F32x4): F32x4 {
  const one = F32x4.const(1);
  return one.div(expNormal4(body, x.neg()).add(one));
}

/** The hyperbolic tangent. */
export function tanh4(body: Body, x: F32x4): F32x4 {
  const value = body.let(x);
  const size = body.let(value.abs());
  const square = body.let(value.mul(value));
  const p = polynomial(
    body,
    square,
    [-0.005515167955, 0.02046942338, -0.05368802324, 0.1333083063, -0.3333325982],
  );
  const near = body.let(body.madd(size.mul(square), p, size));
  // From 10 on it is 1 in float32; e^20 + 1 is not yet too large.
  const double = size.pmin(F32x4.const(10)).mul(F32x4.const(2));
  const power = expNormal4(body, double).add(F32x4.const(1));
  const far = F32x4.const(1).sub(F32x4.const(2).div(power));
  return withSign(size.lt(F32x4.const(0.625)).choose(near, far), value);
}

/** The error function. */
export function erf4(body: Body, x: F32x4): F32x4 {
  const value = body.let(x);
  const size = body.let(value.abs());
  const square = body.let(value.mul(value));
  const p = polynomial(
    body,
    square,
    [-0.0005862115067, 0.004967514891, -0.02674887143, 0.112813212, -0.3761244714, 0.1283791363],
  );
  const near = body.let(body.madd(p, size, size));
  // Away from 0: 1 − exp of a fit of log(1 − erf). From 4 on it is 1 in float32.
  const bounded = body.let(size.pmin(F32x4.const(4)));
  const q = polynomial(
    body,
    bounded,
    [
      -1.043291923e-5, 0.0003148562682, -0.003610334825, 0.02369455248, -0.1061590314,
      -0.6351980567, -1.128637075,
    ],
  );
  const far = F32x4.const(1).sub(expNormal4(body, q.mul(bounded)));
  return withSign(size.lt(F32x4.const(0.92)).choose(near, far), value);
}

/** A size with the sign of a local. */
function withSign(size: F32x4, value: F32x4): F32x4 {
  const sign = value.as(I32x4).and(I32x4.const(-(2 ** 31)));
  return size.as(I32x4).or(sign).as(F32x4);
}
