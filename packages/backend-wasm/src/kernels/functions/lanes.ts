import type { F32, I32 } from "../../emit/scalars.ts";
import { F32x4, I32x4, shuffle } from "../../emit/vectors.ts";

/** The bytes of lanes 1, 2, 3, 0. */
const NEXT = [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3];

/** A local with its lanes moved down by one and a new last one: four times, and all are replaced. */
export function rotate(lanes: F32x4, last: F32): F32x4 {
  return shuffle(lanes, lanes, NEXT, F32x4).withLane(3, last);
}

/** {@link rotate}, of integers. */
export function rotateInt(lanes: I32x4, last: I32): I32x4 {
  return shuffle(lanes, lanes, NEXT, I32x4).withLane(3, last);
}
