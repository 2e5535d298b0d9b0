import { type DType, stridesOf } from "@moiety/core";
import { castValue, scalarValue } from "./cast.ts";
import type { Kernel } from "./kernel.ts";
import { placesOf } from "./places.ts";

/** A tensor of one value. */
export const fill: Kernel = (call) => {
  const { value, dtype } = call.attributes<{ value: number; dtype: DType }>();
  const y = call.result();
  const stored = scalarValue(value, dtype, call.precision);
  for (let at = 0; at < y.values.length; at++) y.set(at, stored.value, stored.bound);
  return [y];
};

/** Each element's index along an axis. */
export const iota: Kernel = (call) => {
  const { axis } = call.attributes<{ axis: number }>();
  const { shape, dtype } = call.spec(0);
  const y = call.result();
  const strides = stridesOf(shape).map((_, other) => (other === axis ? 1 : 0));
  for (const [at, index] of placesOf(shape, strides).entries()) {
    const { value, bound } = castValue(index, 0, "u32", dtype, call.precision);
    y.set(at, value, bound);
  }
  return [y];
};
