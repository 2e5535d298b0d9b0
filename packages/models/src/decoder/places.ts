import { type Tensor, slice } from "@moiety/core";

/** So many places of an axis, from `start` on. */
export function placesOf(x: Tensor, axis: number, start: number, count: number): Tensor {
  return slice(x, {
    starts: x.shape.map(() => 0).with(axis, start),
    sizes: x.shape.with(axis, count),
  });
}

/** The last place of an axis, which stays, of length 1. */
export function lastOf(x: Tensor, axis: number): Tensor {
  const length = x.shape[axis] ?? 0;
  return length === 1 ? x : placesOf(x, axis, length - 1, 1);
}
