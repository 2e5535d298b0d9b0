import { isWhole } from "./elementwise.ts";
import type { Kernel } from "./kernel.ts";
import { newFloat64 } from "./scratch.ts";

/** Running sums along an axis, in index order (from the end where reversed), in float64. */
export const cumsum: Kernel = (call) => {
  const { axis, exclusive, reverse } = call.attributes<{
    axis: number;
    exclusive?: boolean;
    reverse?: boolean;
  }>();
  const { array, shape, dtype } = call.input(0);
  const buffer = call.reuse(0);
  const target = call.view(0, buffer);
  const size = shape[axis] ?? 1;
  const inner = shape.slice(axis + 1).reduce((product, dimension) => product * dimension, 1);
  const totals = newFloat64(inner);
  const whole = isWhole(dtype);
  for (let start = 0; start < array.length; start += size * inner) {
    totals.fill(0);
    for (let step = 0; step < size; step++) {
      const row = start + (reverse ? size - 1 - step : step) * inner;
      for (let index = 0; index < inner; index++) {
        const before = totals[index]!;
        const sum = before + array[row + index]!;
        const total = whole ? sum | 0 : sum;
        totals[index] = total;
        target[row + index] = exclusive ? before : total;
      }
    }
  }
  return [buffer];
};
