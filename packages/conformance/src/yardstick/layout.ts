import { stridesOf } from "@moiety/core";
import { scalarValue } from "./cast.ts";
import type { Kernel, Operand, Result } from "./kernel.ts";
import { broadcastPlaces, placesOf } from "./places.ts";

/** Where the box that begins at `starts` lies in an array of this shape. */
function boxOf(
  shape: readonly number[],
  starts: readonly number[],
  sizes: readonly number[],
): Float64Array {
  const strides = stridesOf(shape);
  const start = strides.reduce((sum, stride, axis) => sum + stride * (starts[axis] ?? 0), 0);
  return placesOf(sizes, strides, start);
}

function copyAll(y: Result, from: Operand): void {
  for (let at = 0; at < from.size; at++) y.copy(at, from, at);
}

/** x repeated to a shape. */
export const broadcast: Kernel = (call) => {
  const x = call.input(0);
  const y = call.result();
  for (const [at, place] of broadcastPlaces(x.shape, call.spec(0).shape).entries()) {
    y.copy(at, x, place);
  }
  return [y];
};

/** The axes in another order. */
export const transpose: Kernel = (call) => {
  const { permutation } = call.attributes<{ permutation: readonly number[] }>();
  const x = call.input(0);
  const y = call.result();
  const strides = stridesOf(x.shape);
  const moved = permutation.map((axis) => strides[axis] ?? 0);
  for (const [at, place] of placesOf(call.spec(0).shape, moved).entries()) y.copy(at, x, place);
  return [y];
};

/** A box of x. */
export const slice: Kernel = (call) => {
  const { starts, sizes } = call.attributes<{ starts: number[]; sizes: number[] }>();
  const x = call.input(0);
  const y = call.result();
  for (const [at, place] of boxOf(x.shape, starts, sizes).entries()) y.copy(at, x, place);
  return [y];
};

/** A copy with a box written over. */
export const writeSlice: Kernel = (call) => {
  const { starts } = call.attributes<{ starts: number[] }>();
  const [target, update] = [call.input(0), call.input(1)];
  const y = call.result();
  copyAll(y, target);
  for (const [at, place] of boxOf(target.shape, starts, update.shape).entries()) {
    y.copy(place, update, at);
  }
  return [y];
};

/** The inputs one after another. */
export const concat: Kernel = (call) => {
  const { axis } = call.attributes<{ axis: number }>();
  const { shape } = call.spec(0);
  const y = call.result();
  let start = 0;
  for (const input of call.inputs) {
    if (!input) continue;
    const starts = shape.map((_, other) => (other === axis ? start : 0));
    for (const [at, place] of boxOf(shape, starts, input.shape).entries()) y.copy(place, input, at);
    start += input.shape[axis] ?? 0;
  }
  return [y];
};

/** x with a value around it. */
export const pad: Kernel = (call) => {
  const { before, value } = call.attributes<{ before: number[]; value: number }>();
  const { shape, dtype } = call.spec(0);
  const x = call.input(0);
  const y = call.result();
  const outside = scalarValue(value, dtype, call.precision);
  for (let at = 0; at < y.values.length; at++) y.set(at, outside.value, outside.bound);
  for (const [at, place] of boxOf(shape, before, x.shape).entries()) y.copy(place, x, at);
  return [y];
};
