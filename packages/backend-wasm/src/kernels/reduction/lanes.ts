import type { Body } from "../../emit/body.ts";
import type { I32, Kind } from "../../emit/scalars.ts";
import { type F32x4, I32x4, bitSelect, shuffle, vectorConst } from "../../emit/vectors.ts";

/** The vectors of four words. */
export type Words = F32x4 | I32x4;

/** Bytes of a vector. */
export const VECTOR_BYTES = 16;

/** Vectors that are worked on side by side. */
export const ABREAST = 4;

/** The address of word `index` of an array. */
export function wordAt(base: I32, index: I32): I32 {
  return base.add(index.shl(2));
}

/** A count rounded down to whole vectors. */
export function wholeVectors(count: I32): I32 {
  return count.and(-4);
}

/** Bytes that a row of words takes in whole vectors. */
export function paddedBytes(words: number): number {
  return Math.ceil(words / 4) * VECTOR_BYTES;
}

/** −1 in the first `count` lanes, 0 in the others. */
export function lanesBelow(count: I32): I32x4 {
  const numbers = vectorConst(I32x4, [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
  return numbers.lt(I32x4.splat(count));
}

/** −1 in the lanes from `first` on and below `end`, which is no less, 0 in the others. */
export function lanesBetween(first: I32, end: I32): I32x4 {
  return lanesBelow(end).ne(lanesBelow(first));
}

/** Puts `other` into the lanes of a local from `count` on, where there are fewer than four. */
export function padLanes<V extends Words>(
  body: Body,
  vector: V,
  count: I32,
  other: V,
  kind: Kind<V>,
): void {
  body.if(count.lt(4), () => {
    body.set(vector, bitSelect(lanesBelow(count), vector, other, kind));
  });
}

/** Stores the first `count` lanes of a local, all four where there are as many; `count` is above 0. */
export function storeLanes(body: Body, address: I32, vector: Words, count: I32): void {
  const words = vector.as(I32x4);
  body.if(
    count.ge(4),
    () => body.store(address, vector),
    () =>
      body.if(
        count.ge(2),
        () => {
          body.storeHalf(address, vector);
          body.if(count.eq(3), () => body.store(address, words.lane(2), 8));
        },
        () => body.store(address, words.lane(0)),
      ),
  );
}

/** Joins the four lanes of a local, (0, 2) with (1, 3); the result is in every lane. */
export function acrossLanes<V extends Words>(
  body: Body,
  vector: V,
  kind: Kind<V>,
  join: (a: V, b: V) => V,
): V {
  const halves = [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7];
  const pairs = [4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11];
  const two = body.let(join(vector, shuffle(vector, vector, halves, kind)));
  return body.let(join(two, shuffle(two, two, pairs, kind)));
}

/** Copies the first `count` words of one row to another. */
export function copyRow(body: Body, to: I32, from: I32, count: I32): void {
  body.for(0, count, 4, (index) => {
    const vector = body.let(I32x4.load(wordAt(from, index)));
    storeLanes(body, wordAt(to, index), vector, count.sub(index));
  });
}

/** Walks columns by strips of several vectors, then by single ones, the last one not full perhaps. */
export function eachStrip(
  body: Body,
  columns: I32,
  visit: (index: I32, vectors: number) => void,
): void {
  const index = body.int(0);
  const wide = 4 * ABREAST;
  body.while(
    () => index.add(wide).leU(columns),
    () => {
      visit(index, ABREAST);
      body.increment(index, wide);
    },
  );
  body.while(
    () => index.ltU(columns),
    () => {
      visit(index, 1);
      body.increment(index, 4);
    },
  );
}
