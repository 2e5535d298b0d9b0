import type { DType } from "@moiety/core";
import { storedValue } from "./convert.ts";
import type { Kernel } from "./kernel.ts";

/** A tensor of one value. */
export const fill: Kernel = (call) => {
  const { value, dtype } = call.attributes<{ value: number; dtype: DType }>();
  const buffer = call.make(0);
  call.view(0, buffer).fill(storedValue(call.scratch, value, dtype));
  return [buffer];
};

/** Each element's index along an axis. */
export const iota: Kernel = (call) => {
  const { axis } = call.attributes<{ axis: number }>();
  const { shape } = call.spec(0);
  const buffer = call.make(0);
  const target = call.view(0, buffer);
  const size = shape[axis] ?? 1;
  const inner = shape.slice(axis + 1).reduce((product, dimension) => product * dimension, 1);
  for (let start = 0, index = 0; start < target.length; start += inner, index++) {
    target.fill(index % size, start, start + inner);
  }
  return [buffer];
};
