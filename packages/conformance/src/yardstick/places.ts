import { type Shape, sizeOf, stridesOf } from "@moiety/core";

/**
 * For every index of a shape, in row-major order: where an array holds that element whose strides
 * are given, one for each axis, and whose first element stands at `start`.
 */
export function placesOf(shape: Shape, strides: readonly number[], start = 0): Float64Array {
  const places = new Float64Array(sizeOf(shape));
  if (places.length === 0) return places;
  places[0] = start;
  // Axis by axis from the outermost: each place becomes a row of places.
  let known = 1;
  for (const [axis, size] of shape.entries()) {
    const stride = strides[axis] ?? 0;
    // From the end, so that no place is overwritten before it was read.
    for (let outer = known - 1; outer >= 0; outer--) {
      const from = places[outer] ?? 0;
      for (let index = size - 1; index >= 0; index--) {
        places[outer * size + index] = from + index * stride;
      }
    }
    known *= size;
  }
  return places;
}

/** Where an array of shape `from` holds the elements of a shape that it broadcasts to. */
export function broadcastPlaces(from: Shape, to: Shape): Float64Array {
  const missing = to.length - from.length;
  const own = stridesOf(from);
  const strides = to.map((_, axis) =>
    from[axis - missing] === 1 ? 0 : (own[axis - missing] ?? 0),
  );
  return placesOf(to, strides);
}

/** The sizes before an axis, of it, and behind it, each multiplied up. */
export function around(shape: Shape, axis: number): [outer: number, size: number, inner: number] {
  return [sizeOf(shape.slice(0, axis)), shape[axis] ?? 1, sizeOf(shape.slice(axis + 1))];
}
