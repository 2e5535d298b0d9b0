import type { Values } from "./broken-call.ts";

/** Swaps two rows, counted along the last axis. */
export function swapRows({ data, width }: Values, a: number, b: number): void {
  for (let column = 0; column < width; column++) {
    const value = data[a * width + column] ?? 0;
    data[a * width + column] = data[b * width + column] ?? 0;
    data[b * width + column] = value;
  }
}

/** Whether a number of a row is NaN. */
export function hasNaN({ data, width }: Values, row: number): boolean {
  return data.subarray(row * width, (row + 1) * width).some((value) => Number.isNaN(value));
}
