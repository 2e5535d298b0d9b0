import type { Body } from "../emit/body.ts";
import type { I32 } from "../emit/scalars.ts";
import { type Vector, I32x4, shuffle } from "../emit/vectors.ts";

/** Bytes of a vector. */
export const VECTOR = 16;

/** A vector's place in a row: bytes from its begin as a local, and a constant to be added. */
export type VisitVector = (offset: I32, constant: number) => void;

/**
 * Walks bytes `from` … `to` of rows, vector by vector and `unroll` at a time; what is less than a vector
 * goes to `tail`, with the number of bytes.
 */
export function eachVector(
  body: Body,
  from: I32,
  to: I32,
  unroll: number,
  visit: VisitVector,
  tail: (offset: I32, bytes: I32) => void,
): void {
  const offset = body.let(from);
  const end = body.let(to);
  for (const count of unroll > 1 ? [unroll, 1] : [1]) {
    const more = (): I32 => offset.add(VECTOR * count).leU(end);
    body.if(more(), () => {
      body.repeat(() => {
        for (let index = 0; index < count; index++) visit(offset, index * VECTOR);
        body.increment(offset, VECTOR * count);
        return more();
      });
    });
  }
  body.if(offset.ltU(end), () => tail(offset, body.let(end.sub(offset))));
}

/** The upper half of a vector in its lower half. */
const UPPER = [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15];

/** Stores the first `bytes` of a vector, a local: fewer than 16, a multiple of `unit`. */
export function storeFirst(
  body: Body,
  address: I32,
  vector: Vector,
  bytes: I32,
  unit: 1 | 4 = 4,
): void {
  const rest = body.let(vector.as(I32x4));
  const to = body.let(address);
  body.if(bytes.and(8), () => {
    body.storeHalf(to, rest);
    body.set(rest, shuffle(rest, rest, UPPER, I32x4));
    body.increment(to, 8);
  });
  body.if(bytes.and(4), () => body.store(to, rest.lane(0)));
  if (unit === 4) return;
  body.if(bytes.and(3), () => {
    const word = body.let(rest.lane(0));
    body.if(bytes.and(4), () => {
      body.set(word, rest.lane(1));
      body.increment(to, 4);
    });
    body.if(bytes.and(2), () => {
      body.store16(to, word);
      body.set(word, word.shrU(16));
      body.increment(to, 2);
    });
    body.if(bytes.and(1), () => body.store8(to, word));
  });
}

/** Stores the first `words` of several vectors, which are locals: all of them where there are more. */
export function storeFirstOf(
  body: Body,
  address: I32,
  vectors: readonly Vector[],
  words: I32,
): void {
  const to = body.let(address);
  for (const [index, vector] of vectors.entries()) {
    const rest = body.let(words.sub(index * 4));
    body.if(
      rest.ge(4),
      () => body.store(to, vector, index * VECTOR),
      () =>
        body.if(rest.gt(0), () => storeFirst(body, to.add(index * VECTOR), vector, rest.shl(2))),
    );
  }
}
