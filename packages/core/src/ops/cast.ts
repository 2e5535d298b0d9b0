import { type DType, type FloatDType, isFloat } from "../dtype.ts";
import { type Op, defineOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { DTYPES, requireDType } from "./checks.ts";

/**
 * The values in another dtype, from any to any. To a narrower float: to nearest, ties to even, and
 * beyond its range ±∞ (f16, f32). Float to integer: toward zero, saturating at the ends of the
 * range; NaN gives 0. i32 to u32 and back keeps the 32 bits; other integers to u8 saturate. To
 * `bool`: `x != 0` (NaN is true). From `bool`: 0 or 1. Gradients flow between f32 and f64 only.
 */
export const cast: Op<[x: Tensor], { readonly dtype: DType }> = /*#__PURE__*/ defineOp({
  name: "cast",
  inputs: ["x"],
  kernel: "inference",
  infer([x], { dtype }) {
    requireDType("cast", "dtype", dtype, DTYPES);
    return { shape: x.shape, dtype };
  },
  gradient({ inputs: [x], gradients: [gradient] }) {
    return [gradient && isFloat(x.dtype) ? cast(gradient, { dtype: x.dtype }) : undefined];
  },
});

/** The tensor in `dtype` or wider: f64 stays f64; everything else is cast unless it fits already. */
export function atLeast(x: Tensor, dtype: FloatDType): Tensor {
  return x.dtype === dtype || x.dtype === "f64" ? x : cast(x, { dtype });
}
