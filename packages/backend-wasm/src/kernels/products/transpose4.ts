import type { Body } from "../../emit/body.ts";
import { F32x4, shuffle } from "../../emit/vectors.ts";

/** Bytes of 32-bit lanes: 0 … 3 of the first vector, 4 … 7 of the second. */
function lanes(...places: readonly number[]): number[] {
  return places.flatMap((place) => [0, 1, 2, 3].map((byte) => place * 4 + byte));
}

/** Four rows of four as four columns. The rows are locals, and so are the columns. */
export function transpose4(body: Body, rows: readonly F32x4[]): F32x4[] {
  const [a, b, c, d] = rows as readonly [F32x4, F32x4, F32x4, F32x4];
  const mix = (x: F32x4, y: F32x4, places: readonly number[]): F32x4 =>
    body.let(shuffle(x, y, places, F32x4));
  const [firsts, seconds] = [lanes(0, 4, 1, 5), lanes(2, 6, 3, 7)];
  const [ab, cd] = [mix(a, b, firsts), mix(c, d, firsts)];
  const [ab2, cd2] = [mix(a, b, seconds), mix(c, d, seconds)];
  const [low, high] = [lanes(0, 1, 4, 5), lanes(2, 3, 6, 7)];
  return [mix(ab, cd, low), mix(ab, cd, high), mix(ab2, cd2, low), mix(ab2, cd2, high)];
}
