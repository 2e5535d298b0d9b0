import { sizeOf } from "@moiety/core";
import type { Kernel, Operand } from "./kernel.ts";
import { around } from "./places.ts";

/** Rows of a table by id; an id outside it gives zeros, and an uncertain one may give anything. */
export const gatherRows: Kernel = (call) => {
  const [table, ids] = [call.input(0), call.input(1)];
  const y = call.result();
  const width = sizeOf(table.shape.slice(1));
  for (let row = 0; row < ids.size; row++) {
    const id = ids.value(row);
    const inside = id >= 0 && id < (table.shape[0] ?? 0);
    for (let column = 0; column < width; column++) {
      const at = row * width + column;
      if (inside) y.copy(at, table, id * width + column);
      if (ids.bound(row) !== 0) y.set(at, y.values[at] ?? 0, Infinity);
    }
  }
  return [y];
};

/** Where an array with `size` places along an axis has the element that each index names; −1 outside. */
function alongPlaces(indices: Operand, axis: number, size: number): Float64Array {
  const [, steps, inner] = around(indices.shape, axis);
  return Float64Array.from({ length: indices.size }, (_, at) => {
    const index = indices.value(at);
    if (index < 0 || index >= size) return -1;
    const outer = Math.floor(at / (steps * inner));
    return (outer * size + index) * inner + (at % inner);
  });
}

/** Elements along an axis by index. */
export const takeAlong: Kernel = (call) => {
  const { axis } = call.attributes<{ axis: number }>();
  const [x, indices] = [call.input(0), call.input(1)];
  const y = call.result();
  for (const [at, place] of alongPlaces(indices, axis, x.shape[axis] ?? 1).entries()) {
    if (place >= 0) y.copy(at, x, place);
    if (indices.bound(at) !== 0) y.set(at, y.values[at] ?? 0, Infinity);
  }
  return [y];
};

/** A copy with updates put along an axis by index. An uncertain index spoils its whole lane. */
export const putAlong: Kernel = (call) => {
  const { axis } = call.attributes<{ axis: number }>();
  const [x, indices, updates] = [call.input(0), call.input(1), call.input(2)];
  const y = call.result();
  const [, steps, inner] = around(indices.shape, axis);
  const size = x.shape[axis] ?? 1;
  for (let at = 0; at < x.size; at++) y.copy(at, x, at);
  for (const [at, place] of alongPlaces(indices, axis, size).entries()) {
    if (place >= 0) y.copy(place, updates, at);
  }
  for (let at = 0; at < indices.size; at++) {
    if (indices.bound(at) === 0) continue;
    const lane = Math.floor(at / (steps * inner)) * size * inner + (at % inner);
    for (let index = 0; index < size; index++) {
      const place = lane + index * inner;
      y.set(place, y.values[place] ?? 0, Infinity);
    }
  }
  return [y];
};
