import type { DType, HostArray } from "@moiety/core";
import type { Scratch } from "./scratch.ts";

/** Copies values `start … start + count` of an array into a float64 block; exact. */
export function load(
  scratch: Scratch,
  source: HostArray,
  dtype: DType,
  start: number,
  count: number,
  block: Float64Array,
): void {
  if (dtype === "f16" || dtype === "bf16") scratch.half(dtype).decode(source, start, count, block);
  else block.set(source.subarray(start, start + count));
}

/**
 * Stores the first `count` values of a float64 block as a dtype: floats round to nearest, ties to
 * even; integers truncate toward zero and saturate, NaN becomes 0; bool is whether it is not 0.
 */
export function store(
  scratch: Scratch,
  block: Float64Array,
  count: number,
  target: HostArray,
  dtype: DType,
  start: number,
): void {
  switch (dtype) {
    case "f32":
    case "f64":
      target.set(block.subarray(0, count), start);
      return;
    case "i32":
      return storeInteger(block, count, target, start, -(2 ** 31), 2 ** 31 - 1);
    case "u32":
      return storeInteger(block, count, target, start, 0, 2 ** 32 - 1);
    case "u8":
      return storeInteger(block, count, target, start, 0, 255);
    case "bool":
      for (let index = 0; index < count; index++) {
        target[start + index] = block[index] === 0 ? 0 : 1;
      }
      return;
    case "f16":
    case "bf16": {
      const codec = scratch.half(dtype);
      for (let index = 0; index < count; index++) {
        target[start + index] = codec.encode(block[index]!);
      }
    }
  }
}

/** One value as a dtype stores it: the bit pattern for f16 and bf16. */
export function storedValue(scratch: Scratch, value: number, dtype: DType): number {
  return dtype === "f16" || dtype === "bf16" ? scratch.half(dtype).encode(value) : value;
}

function storeInteger(
  block: Float64Array,
  count: number,
  target: HostArray,
  start: number,
  low: number,
  high: number,
): void {
  for (let index = 0; index < count; index++) {
    const value = Math.trunc(block[index]!);
    // A comparison with NaN is false both ways, and storing NaN as an integer gives 0.
    target[start + index] = value < low ? low : value > high ? high : value;
  }
}
