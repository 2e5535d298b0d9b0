import { ShapeError } from "./errors.ts";

/** Sizes of a tensor's dimensions, outermost first; `[]` is a scalar. */
export type Shape = readonly number[];

/** Number of elements of a shape. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const dimension of shape) size *= dimension;
  return size;
}

/** Whether two shapes are the same. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dimension, axis) => dimension === b[axis]);
}

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis] ?? 1;
  }
  return strides;
}

/** Turns an axis, negative from the end, into its index. Throws {@link ShapeError} outside the rank. */
export function resolveAxis(axis: number, rank: number, op?: string): number {
  const resolved = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || resolved < 0 || resolved >= rank) {
    throw new ShapeError(`axis ${axis} is outside rank ${rank}; use -${rank}…${rank - 1}`, { op });
  }
  return resolved;
}

/** The shape that both broadcast to (NumPy's rule). Throws {@link ShapeError} where they do not. */
export function broadcastShapes(a: Shape, b: Shape, op?: string): number[] {
  const rank = Math.max(a.length, b.length);
  const result = new Array<number>(rank);
  for (let axis = 0; axis < rank; axis++) {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    if (left !== right && left !== 1 && right !== 1) {
      throw new ShapeError(
        `shapes [${a}] and [${b}] do not broadcast: dimension ${axis} is ${left} and ${right}`,
        { op, shapes: [a, b] },
      );
    }
    result[axis] = left === 1 ? right : left;
  }
  return result;
}

/** The axes of `shape` over which a value of shape `from` was repeated to reach it. */
export function broadcastAxes(from: Shape, shape: Shape): number[] {
  const offset = shape.length - from.length;
  const axes: number[] = [];
  for (let axis = 0; axis < shape.length; axis++) {
    if (axis < offset || (from[axis - offset] === 1 && shape[axis] !== 1)) axes.push(axis);
  }
  return axes;
}

/** A shape in an error's text: `[2, 3]`. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}
