import { type Shape, stridesOf } from "@moiety/core";

/**
 * A shape and, for each tensor that is walked along it, the strides in elements. Axes of size 1 are
 * left out, and neighbours that every tensor walks as one are merged; at least one axis remains.
 */
export interface Grid {
  readonly sizes: readonly number[];
  readonly strides: readonly (readonly number[])[];
}

/** Makes the {@link Grid} of a shape and the strides of each tensor along it. */
export function gridOf(shape: Shape, strides: readonly (readonly number[])[]): Grid {
  const sizes: number[] = [];
  const merged: number[][] = strides.map(() => []);
  for (const [axis, size] of shape.entries()) {
    if (size === 1) continue;
    const last = sizes.length - 1;
    const joins =
      last >= 0 &&
      strides.every((list, tensor) => merged[tensor]?.[last] === (list[axis] ?? 0) * size);
    if (joins) sizes[last] = (sizes[last] ?? 1) * size;
    else sizes.push(size);
    for (const [tensor, list] of strides.entries()) {
      const target = merged[tensor];
      if (target) target[sizes.length - 1] = list[axis] ?? 0;
    }
  }
  if (sizes.length > 0) return { sizes, strides: merged };
  return { sizes: [1], strides: strides.map(() => [1]) };
}

/** Strides with which a tensor of shape `from` is read along `to`; 0 where it is repeated. */
export function broadcastStrides(from: Shape, to: Shape): number[] {
  const own = stridesOf(from);
  const offset = to.length - from.length;
  return to.map((_, axis) =>
    axis < offset || from[axis - offset] === 1 ? 0 : (own[axis - offset] ?? 0),
  );
}
