import type { Body } from "../../emit/body.ts";
import { F32, F64, I32 } from "../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";
import { rotate, rotateInt } from "./lanes.ts";
import { polynomial } from "./polynomial.ts";

/**
 * π/2 in four parts. The first three have 8 bits, so that their products with a number of quarter turns
 * below 2^16 are exact.
 */
const QUARTER_TURN = [
  1.5703125, 0.0004825592041015625, 1.2665987014770508e-6, 9.92093629470503e-10,
];
/** Up to here the number of quarter turns has 16 bits. */
const NEAR = 1e5;
/** 2/π in pieces of 24 bits, from the point on: enough for the largest float. */
const TURNS = [
  0xa2f983, 0x6e4e44, 0x1529fc, 0x2757d1, 0xf534dd, 0xc0db62, 0x95993c, 0x439041, 0xfe5163,
];
const PIECE_BITS = 24;

/** The sine. */
export function sin4(body: Body, x: F32x4): F32x4 {
  return circular(body, x, 0);
}

/** The cosine. */
export function cos4(body: Body, x: F32x4): F32x4 {
  return circular(body, x, 1);
}

/** The sine of x and so many quarter turns. */
function circular(body: Body, x: F32x4, turns: number): F32x4 {
  const value = body.let(x);
  const k = body.let(value.mul(F32x4.const(2 / Math.PI)).nearest());
  const r = body.let(value);
  for (const part of QUARTER_TURN) body.set(r, body.nmadd(k, F32x4.const(part), r));
  const quadrant = body.let(k.toI32x4());
  const far = body.let(value.abs().gt(F32x4.const(NEAR)));
  body.if(far.anyTrue(), () => {
    const reduced = reduceFar(body, value);
    body.set(r, far.choose(reduced.rest, r));
    body.set(quadrant, far.chooseInt(reduced.quadrant, quadrant));
  });
  body.set(quadrant, quadrant.add(I32x4.const(turns)));
  const square = body.let(r.mul(r));
  const odd = polynomial(
    body,
    square,
    [2.717160214e-6, -0.0001983921102, 0.008333329111, -0.1666666716],
  );
  const sine = body.let(body.madd(r.mul(square), odd, r));
  const even = polynomial(body, square, [2.442362529e-5, -0.00138872338, 0.04166664556]);
  const start = body.nmadd(F32x4.const(0.5), square, F32x4.const(1));
  const cosine = body.let(body.madd(square.mul(square), even, start));
  const swapped = quadrant.and(I32x4.const(1)).eq(I32x4.const(1));
  const sign = quadrant.and(I32x4.const(2)).shl(30);
  return swapped.choose(cosine, sine).as(I32x4).xor(sign).as(F32x4);
}

/**
 * The rest of x over quarter turns, and how many they are: x · 2/π with as many bits as it takes, four
 * whole turns dropped from each partial product. Infinities give NaN.
 */
function reduceFar(body: Body, x: F32x4): { readonly rest: F32x4; readonly quadrant: I32x4 } {
  const lanes = body.let(x);
  const rest = body.let(x);
  const quadrant = body.let(I32x4.const(0));
  const count = body.int(0);
  body.repeat(() => {
    const value = body.let(lanes.lane(0).toF64());
    const sum = body.let(F64.const(0));
    const whole = body.let(F64.const(0));
    for (const [index, piece] of TURNS.entries()) {
      // Both factors have 24 bits, and so the product is exact; what is a multiple of 4 does not turn.
      const product = body.let(value.mul(piece * 2 ** (-PIECE_BITS * (index + 1))));
      body.set(sum, sum.add(product.sub(product.mul(0.25).floor().mul(4))));
      const near = body.let(sum.nearest());
      body.set(sum, sum.sub(near));
      body.set(whole, whole.add(near));
    }
    body.set(rest, rotate(rest, sum.mul(Math.PI / 2).toF32()));
    body.set(quadrant, rotateInt(quadrant, whole.toI32()));
    body.set(lanes, rotate(lanes, F32.const(0)));
    body.increment(count, 1);
    return count.ltU(I32.const(4));
  });
  return { rest, quadrant };
}
