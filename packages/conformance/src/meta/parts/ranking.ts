import type { CpuBuffer } from "@moiety/backend-cpu";
import type { BrokenCall } from "./broken-call.ts";

/** A place of a row that topK may choose. */
export interface Candidate {
  readonly index: number;
  readonly score: number;
  /** False where the mask hides it. */
  readonly shown: boolean;
}

/** Negative where the first comes first, positive where the second does, 0 where it says nothing. */
export type Order = (a: Candidate, b: Candidate) => number;

/** What the mask shows before what it hides. */
export const shownFirst: Order = (a, b) => Number(b.shown) - Number(a.shown);

/** Numbers before NaN. */
export const numbersFirst: Order = (a, b) =>
  Number(Number.isNaN(a.score)) - Number(Number.isNaN(b.score));

/** The highest first; says nothing of NaN and of what is hidden. */
export const highestFirst: Order = (a, b) => (a.shown && b.shown ? b.score - a.score || 0 : 0);

/** The lower index first. */
export const lowestIndexFirst: Order = (a, b) => a.index - b.index;

/** One order after another, until one says something. */
export function inOrder(...orders: readonly Order[]): Order {
  return (a, b) => {
    for (const order of orders) {
      const result = order(a, b);
      if (result !== 0) return result;
    }
    return 0;
  };
}

/** What `topK` demands. */
export const byRank: Order = inOrder(shownFirst, numbersFirst, highestFirst, lowestIndexFirst);

/** A kernel of `topK` by an order of its own; `chosen` may spoil a row's list. */
export function topKBy(
  broken: BrokenCall,
  order: Order,
  chosen: (list: readonly Candidate[], row: readonly Candidate[]) => readonly Candidate[] = (
    list,
  ) => list,
): readonly CpuBuffer[] {
  const [scores, mask] = [broken.input(0), broken.optional(1)];
  const { handles, outputs } = broken.make();
  const [values, indices] = outputs;
  const { k } = broken.attributes<{ k: number }>();
  if (!values || !indices) return handles;
  for (let row = 0; row < scores.rows; row++) {
    const start = row * scores.width;
    const candidates = Array.from({ length: scores.width }, (_, index) => ({
      index,
      score: scores.data[start + index] ?? 0,
      shown: mask === undefined || mask.data[start + index] === 1,
    }));
    const list = chosen(candidates.toSorted(order).slice(0, k), candidates);
    for (const [place, { index, score }] of list.entries()) {
      values.data[row * k + place] = score;
      indices.data[row * k + place] = index;
    }
  }
  return handles;
}
