import type { Body } from "../../emit/body.ts";
import type { F64 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";

/** A polynomial in `x`, a local, by Horner's rule; coefficients from the highest power down. */
export function polynomial(body: Body, x: F32x4, coefficients: readonly number[]): F32x4 {
  const [first = 0, ...rest] = coefficients;
  return rest.reduce<F32x4>(
    (value, coefficient) => body.madd(value, x, F32x4.const(coefficient)),
    F32x4.const(first),
  );
}

/** A polynomial in `x`, a local, in float64; coefficients from the highest power down. */
export function doublePolynomial(x: F64, coefficients: readonly number[]): F64 {
  const [first = 0, second = 0, ...rest] = coefficients;
  return rest.reduce<F64>(
    (value, coefficient) => value.mul(x).add(coefficient),
    x.mul(first).add(second),
  );
}
