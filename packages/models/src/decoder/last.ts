import { type Tensor, slice } from "@moiety/core";

/** The last place of an axis, which stays, of length 1. */
export function lastOf(x: Tensor, axis: number): Tensor {
  const length = x.shape[axis] ?? 0;
  if (length === 1) return x;
  return slice(x, {
    starts: x.shape.map(() => 0).with(axis, length - 1),
    sizes: x.shape.with(axis, 1),
  });
}
