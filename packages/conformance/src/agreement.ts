import { type FloatDType, type HostArray, isFloat } from "@moiety/core";
import type { BoundedValues } from "./case.ts";

/**
 * Where the oracle and the yardstick, both whole in float64, differ by more than float64 explains;
 * `undefined` where they agree. What float32 may be off by, scaled to float64, is what two float64
 * programs may differ by; the factor in front allows for their different orders of summation.
 */
export function disagreement(
  oracle: HostArray,
  yardstick: BoundedValues,
  float: FloatDType,
): string | undefined {
  const { values, bounds, dtype } = yardstick;
  const scale = float === "f64" ? 8 : 8 * 2 ** -29;
  const floats = isFloat(dtype);
  const largest = floats ? largestOf(values) : 0;
  for (let index = 0; index < values.length; index++) {
    const [a, b, bound] = [oracle[index] ?? 0, values[index] ?? 0, bounds[index] ?? 0];
    if (Object.is(a, b) || a === b) continue;
    const allowed = floats ? bound * scale + largest * 1e-13 : bound > 0 ? Infinity : 0;
    if (Math.abs(a - b) <= allowed || bound === Infinity) continue;
    if (Number.isNaN(a) && Number.isNaN(b)) continue;
    return `the oracle has ${a} and the yardstick ${b} at element ${index}`;
  }
  return undefined;
}

function largestOf(values: HostArray): number {
  let largest = 0;
  for (const value of values) {
    const size = Math.abs(value);
    if (size > largest && size < Infinity) largest = size;
  }
  return largest;
}
