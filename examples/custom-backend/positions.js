/** Where elements lie. All of broadcasting, slicing, transposing and reducing is written with this. */
import { stridesOf } from "@moiety/core";

/**
 * The place of each element of a box, in row-major order: `start` plus the element's index times
 * the strides.
 *
 * @param {readonly number[]} shape of the box
 * @param {readonly number[]} strides one for each axis, 0 to repeat
 * @param {number} [start]
 */
export function positionsOf(shape, strides, start = 0) {
  let positions = Int32Array.of(start);
  for (const [axis, size] of shape.entries()) {
    const longer = new Int32Array(positions.length * size);
    const stride = strides[axis];
    let at = 0;
    for (const position of positions) {
      for (let index = 0; index < size; index++) longer[at++] = position + index * stride;
    }
    positions = longer;
  }
  return positions;
}

/**
 * The strides with which a tensor of shape `from` is read as one of shape `to`.
 *
 * @param {readonly number[]} from
 * @param {readonly number[]} to
 */
export function broadcastStrides(from, to) {
  const own = stridesOf(from);
  const added = to.length - from.length;
  return to.map((_, axis) => (axis < added || from[axis - added] === 1 ? 0 : own[axis - added]));
}

/**
 * Place of a box that begins at `starts`, in a tensor with these strides.
 *
 * @param {readonly number[]} starts
 * @param {readonly number[]} strides
 */
export function startOf(starts, strides) {
  return starts.reduce((place, start, axis) => place + start * strides[axis], 0);
}

/**
 * A shape as three sizes: all before the axis, the axis, all behind it.
 *
 * @param {readonly number[]} shape
 * @param {number} axis
 */
export function aroundAxis(shape, axis) {
  const product = (/** @type {readonly number[]} */ sizes) => sizes.reduce((a, b) => a * b, 1);
  return {
    outer: product(shape.slice(0, axis)),
    length: shape[axis],
    inner: product(shape.slice(axis + 1)),
  };
}

/**
 * target[i] = source[positions[i]]
 *
 * @param {any} target
 * @param {any} source
 * @param {Int32Array} positions
 */
export function take(target, source, positions) {
  for (let i = 0; i < positions.length; i++) target[i] = source[positions[i]];
}

/**
 * target[positions[i]] = source[i]
 *
 * @param {any} target
 * @param {any} source
 * @param {Int32Array} positions
 */
export function put(target, source, positions) {
  for (let i = 0; i < positions.length; i++) target[positions[i]] = source[i];
}

/**
 * Copies a donated input to the output, unless the output was given its very place.
 *
 * @param {any} from
 * @param {any} to
 */
export function copyUnlessInPlace(from, to) {
  if (from.buffer !== to.buffer || from.byteOffset !== to.byteOffset) to.set(from);
}
