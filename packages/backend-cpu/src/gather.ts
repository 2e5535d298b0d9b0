import type { HostArray } from "@moiety/core";
import type { Kernel } from "./kernel.ts";
import { newFloat64 } from "./scratch.ts";
import { bitsOf, copyRun } from "./strided-copy.ts";

/** Rows of a table by id; an id outside it gives zeros. */
export const gatherRows: Kernel = (call) => {
  const table = call.input(0);
  const { array: ids } = call.input(1);
  const count = table.shape[0] ?? 0;
  const width = table.shape.slice(1).reduce((product, size) => product * size, 1);
  const buffer = call.make(0);
  const rows = bitsOf(table.array, table.dtype);
  const out = bitsOf(call.view(0, buffer), table.dtype);
  for (let row = 0; row < ids.length; row++) {
    const id = ids[row] ?? -1;
    const to = row * width;
    if (id < 0 || id >= count) out.fill(0, to, to + width);
    else copyRun(rows, id * width, out, to, width);
  }
  return [buffer];
};

/** Elements along an axis by index; an index outside it gives 0. */
export const takeAlong: Kernel = (call) => {
  const { axis } = call.attributes<{ axis: number }>();
  const x = call.input(0);
  const indices = call.input(1);
  const buffer = call.make(0);
  const out = bitsOf(call.view(0, buffer), x.dtype);
  const source = bitsOf(x.array, x.dtype);
  visitAlong(indices.array, indices.shape, x.shape[axis] ?? 1, axis, (at, place) => {
    out[at] = place < 0 ? 0 : source[place]!;
  });
  return [buffer];
};

/** A copy of x with updates put along an axis by index; an index outside it is left out. */
export const putAlong: Kernel = (call) => {
  const { axis } = call.attributes<{ axis: number }>();
  const x = call.input(0);
  const indices = call.input(1);
  const updates = call.input(2);
  const buffer = call.reuse(0, 1);
  const target = call.view(0, buffer);
  if (!call.isInput(0, buffer)) target.set(x.array);
  const out = bitsOf(target, x.dtype);
  const source = bitsOf(updates.array, x.dtype);
  visitAlong(indices.array, indices.shape, x.shape[axis] ?? 1, axis, (at, place) => {
    if (place >= 0) out[place] = source[at]!;
  });
  return [buffer];
};

/**
 * For each index, in order: where it stands, and which element it names of a tensor that has `size`
 * places along the axis; −1 outside.
 */
function visitAlong(
  indices: HostArray,
  shape: readonly number[],
  size: number,
  axis: number,
  visit: (at: number, place: number) => void,
): void {
  const steps = shape[axis] ?? 1;
  const inner = shape.slice(axis + 1).reduce((product, dimension) => product * dimension, 1);
  const span = steps * inner;
  for (let at = 0; at < indices.length; at++) {
    const index = indices[at]!;
    const outer = Math.floor(at / span);
    const inside = index >= 0 && index < size;
    visit(at, inside ? (outer * size + index) * inner + (at % inner) : -1);
  }
}

/** Rows added up by ascending id, in row order, in float64; ids outside the segments are left out. */
export const segmentSum: Kernel = (call) => {
  const rows = call.input(0);
  const { array: ids } = call.input(1);
  const buffer = call.make(0);
  const target = call.view(0, buffer);
  const [segments = 0] = call.spec(0).shape;
  const width = rows.shape.slice(1).reduce((product, size) => product * size, 1);
  target.fill(0);
  const total = newFloat64(width);
  for (let row = 0; row < ids.length;) {
    const id = ids[row]!;
    total.fill(0);
    for (; row < ids.length && ids[row] === id; row++) addRow(total, rows.array, row * width);
    if (id >= 0 && id < segments) target.set(total, id * width);
  }
  return [buffer];
};

function addRow(total: Float64Array, rows: HostArray, from: number): void {
  for (let index = 0; index < total.length; index++) total[index]! += rows[from + index]!;
}
