import { resolveAxis } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { apply, reduce, type ReduceKind } from "./elementwise.ts";

/** Sum over axes (all of them unless given), negative ones counted from the end. */
export function sum(x: Tensor, axes?: readonly number[], keepDims = false): Tensor {
  return over("sum", x, axes, keepDims);
}

/** Largest element over axes; NaN loses to every number. */
export function max(x: Tensor, axes?: readonly number[], keepDims = false): Tensor {
  return over("max", x, axes, keepDims);
}

/** Smallest element over axes; NaN loses to every number. */
export function min(x: Tensor, axes?: readonly number[], keepDims = false): Tensor {
  return over("min", x, axes, keepDims);
}

/** Mean over axes; that of no elements is NaN. */
export function mean(x: Tensor, axes?: readonly number[], keepDims = false): Tensor {
  const resolved = resolveAxes(x, axes);
  const count = resolved.reduce((product, axis) => product * (x.shape[axis] ?? 1), 1);
  return apply("div", reduce(x, { kind: "sum", axes: resolved, keepDims }), count);
}

function over(
  kind: ReduceKind,
  x: Tensor,
  axes: readonly number[] | undefined,
  keepDims: boolean,
): Tensor {
  return reduce(x, { kind, axes: resolveAxes(x, axes), keepDims });
}

function resolveAxes(x: Tensor, axes: readonly number[] | undefined): number[] {
  if (axes === undefined) return x.shape.map((_, axis) => axis);
  return axes.map((axis) => resolveAxis(axis, x.rank, "reduce")).sort((a, b) => a - b);
}
