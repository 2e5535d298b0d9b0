import type { HostArray } from "@moiety/core";
import type { Kernel } from "./kernel.ts";

/** The k highest scores of each row, in order, and where they stand. */
export const topK: Kernel = (call) => {
  const { k } = call.attributes<{ k: number }>();
  const { array: scores, shape } = call.input(0);
  const mask = call.optional(1)?.array;
  const size = shape.at(-1) ?? 0;
  const valueBuffer = call.make(0);
  const indexBuffer = call.make(1);
  const values = call.view(0, valueBuffer);
  const indices = call.view(1, indexBuffer);
  const best = new Int32Array(k);
  const rows = k === 0 ? 0 : values.length / k;
  for (let row = 0; row < rows; row++) {
    const start = row * size;
    pickBest(scores, mask, start, size, best);
    for (let choice = 0; choice < k; choice++) {
      const index = best[choice]!;
      indices[row * k + choice] = index;
      values[row * k + choice] = scores[start + index]!;
    }
  }
  return [valueBuffer, indexBuffer];
};

/** Puts the indices of a row's best places into `best`, in order. */
function pickBest(
  scores: HostArray,
  mask: HostArray | undefined,
  start: number,
  size: number,
  best: Int32Array,
): void {
  const k = best.length;
  let found = 0;
  for (let index = 0; index < size; index++) {
    if (mask !== undefined && mask[start + index] === 0) continue;
    const score = scores[start + index]!;
    // Going up the row, an equal score never passes one that is already there: ties stay in order.
    let place = found;
    while (place > 0 && ranksAbove(score, scores[start + best[place - 1]!]!)) place--;
    if (place >= k) continue;
    found = Math.min(found + 1, k);
    best.copyWithin(place + 1, place, found - 1);
    best[place] = index;
  }
  for (let index = 0; index < size && found < k; index++) {
    if (mask?.[start + index] === 0) best[found++] = index;
  }
}

function ranksAbove(a: number, b: number): boolean {
  return a > b || (Number.isNaN(b) && !Number.isNaN(a));
}

/** The order in which a row's elements are sorted; equal ones keep theirs. */
export const argsort: Kernel = (call) => {
  const { descending } = call.attributes<{ descending?: boolean }>();
  const { array: values, shape } = call.input(0);
  const mask = call.optional(1)?.array;
  const size = shape.at(-1) ?? 0;
  const buffer = call.make(0);
  const order = call.view(0, buffer);
  for (let start = 0; start < values.length; start += size) {
    const row = order.subarray(start, start + size);
    for (let index = 0; index < size; index++) row[index] = index;
    row.sort((left, right) => {
      const place = maskedAt(mask, start + left) - maskedAt(mask, start + right);
      if (place !== 0) return place;
      if (maskedAt(mask, start + left) === 1) return left - right;
      const a = values[start + left]!;
      const b = values[start + right]!;
      if (ranksAbove(a, b)) return descending ? -1 : 1;
      if (ranksAbove(b, a)) return descending ? 1 : -1;
      return left - right;
    });
  }
  return [buffer];
};

function maskedAt(mask: HostArray | undefined, at: number): 0 | 1 {
  return mask?.[at] === 0 ? 1 : 0;
}
