import { stridesOf } from "@moiety/core";
import type { Kernel } from "../../kernel.ts";
import { fillWords, wordOf } from "../elementwise/creation.ts";
import { broadcastStrides } from "../elementwise/grid.ts";
import { writeBox } from "./box.ts";
import { copyWhole } from "./copy.ts";
import { gatherStrided } from "./gather.ts";

/** `broadcast`. */
export const broadcast: Kernel = (call) => {
  const { handle, shape: from, dtype } = call.input(0);
  const { shape } = call.spec(0);
  const y = call.make(0);
  const strides = broadcastStrides(from, shape);
  gatherStrided(call, { handle, dtype, strides, offset: 0 }, shape, y);
  return [y];
};

/** `transpose`. */
export const transpose: Kernel = (call) => {
  const { permutation } = call.attributes<{ permutation: readonly number[] }>();
  const { handle, shape: from, dtype } = call.input(0);
  const y = call.make(0);
  const own = stridesOf(from);
  const strides = permutation.map((axis) => own[axis] ?? 0);
  gatherStrided(call, { handle, dtype, strides, offset: 0 }, call.spec(0).shape, y);
  return [y];
};

/** `slice`. */
export const slice: Kernel = (call) => {
  const { starts } = call.attributes<{ starts: readonly number[] }>();
  const { handle, shape: from, dtype } = call.input(0);
  const y = call.make(0);
  const strides = stridesOf(from);
  const offset = strides.reduce((sum, stride, axis) => sum + stride * (starts[axis] ?? 0), 0);
  gatherStrided(call, { handle, dtype, strides, offset }, call.spec(0).shape, y);
  return [y];
};

/** `writeSlice`: in place where the target was donated. */
export const writeSlice: Kernel = (call) => {
  const { starts } = call.attributes<{ starts: readonly number[] }>();
  const target = call.input(0);
  const update = call.input(1);
  const own = target.handle === update.handle ? undefined : call.donated(0, 0);
  const y = own ?? call.make(0);
  if (!own) copyWhole(call, target.handle, y);
  const { shape, dtype } = target;
  writeBox(call, { handle: y, shape, dtype, starts }, update.handle, update.shape);
  return [y];
};

/** `concat`. */
export const concat: Kernel = (call) => {
  const { axis } = call.attributes<{ axis: number }>();
  const { shape, dtype } = call.spec(0);
  const y = call.make(0);
  let start = 0;
  for (let index = 0; index < call.inputCount; index++) {
    const part = call.input(index);
    const starts = shape.map((_, other) => (other === axis ? start : 0));
    writeBox(call, { handle: y, shape, dtype, starts }, part.handle, part.shape);
    start += part.shape[axis] ?? 0;
  }
  return [y];
};

/** `pad`. */
export const pad: Kernel = (call) => {
  const { before, value } = call.attributes<{ before: readonly number[]; value: number }>();
  const x = call.input(0);
  const { shape, dtype } = call.spec(0);
  const y = call.make(0);
  if (x.size < call.outputSize(0)) fillWords(call, y, wordOf(value, dtype));
  writeBox(call, { handle: y, shape, dtype, starts: before }, x.handle, x.shape);
  return [y];
};
