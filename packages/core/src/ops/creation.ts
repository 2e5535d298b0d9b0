import type { Backend } from "../contract.ts";
import type { DType } from "../dtype.ts";
import { type Op, defineOp } from "../op.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import {
  DTYPES,
  NUMBERS,
  requireDType,
  requireScalar,
  requireSizes,
  requireWhole,
} from "./checks.ts";

/**
 * A tensor whose every element is `value`, rounded to the dtype (to nearest, ties to even). Integer
 * dtypes take whole values in their range, `bool` takes 0 or 1.
 */
export const fill: Op<
  [],
  { readonly shape: Shape; readonly value: number; readonly dtype: DType }
> = /*#__PURE__*/ defineOp({
  name: "fill",
  inputs: [],
  kernel: "inference",
  dynamic: ["value"],
  infer(_, { shape, value, dtype }) {
    requireSizes("fill", "shape", shape);
    requireDType("fill", "dtype", dtype, DTYPES);
    requireScalar("fill", "value", value, dtype);
    return { shape, dtype };
  },
});

/** A tensor whose every element is its index along `axis`. */
export const iota: Op<
  [],
  { readonly shape: Shape; readonly axis: number; readonly dtype: "f32" | "f64" | "i32" | "u32" }
> = /*#__PURE__*/ defineOp({
  name: "iota",
  inputs: [],
  kernel: "inference",
  infer(_, { shape, axis, dtype }) {
    requireSizes("iota", "shape", shape);
    requireWhole("iota", "axis", axis, 0, shape.length - 1);
    requireDType("iota", "dtype", dtype, NUMBERS);
    return { shape, dtype };
  },
});

/** A tensor of one value. */
export function full(backend: Backend, shape: Shape, value: number, dtype: DType = "f32"): Tensor {
  return fill(backend, { shape, value, dtype });
}

/** A tensor of zeros. */
export function zeros(backend: Backend, shape: Shape, dtype: DType = "f32"): Tensor {
  return fill(backend, { shape, value: 0, dtype });
}

/** A tensor of ones. */
export function ones(backend: Backend, shape: Shape, dtype: DType = "f32"): Tensor {
  return fill(backend, { shape, value: 1, dtype });
}

/** Zeros of a tensor's shape, dtype and backend. */
export function zerosLike(x: Tensor): Tensor {
  return zeros(x.backend, x.shape, x.dtype);
}

/** Ones of a tensor's shape, dtype and backend. */
export function onesLike(x: Tensor): Tensor {
  return ones(x.backend, x.shape, x.dtype);
}

/** The numbers 0, 1, … count − 1. */
export function arange(
  backend: Backend,
  count: number,
  dtype: "f32" | "f64" | "i32" | "u32" = "i32",
): Tensor {
  return iota(backend, { shape: [count], axis: 0, dtype });
}
