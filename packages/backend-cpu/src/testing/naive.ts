import type { Shape, Tensor } from "@moiety/core";

/** A tensor's values as plain numbers. */
export async function valuesOf(tensor: Tensor): Promise<number[]> {
  return Array.from(await tensor.read());
}

/** Pseudo-random numbers in [-1, 1), the same for the same seed (mulberry32). */
export function numbersOf(seed: number, count: number): number[] {
  let state = seed >>> 0;
  return Array.from({ length: count }, () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 31 - 1;
  });
}

/** Number of elements of a shape. */
export function count(shape: Shape): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Every index of a shape, in row-major order. */
export function indicesOf(shape: Shape): number[][] {
  let indices: number[][] = [[]];
  for (const size of shape) {
    indices = indices.flatMap((index) =>
      Array.from({ length: size }, (_, place) => [...index, place]),
    );
  }
  return indices;
}

/** The value of a row-major array at an index; sizes of 1 are repeated, missing axes too. */
export function at(values: ArrayLike<number>, shape: Shape, index: readonly number[]): number {
  const own = index.slice(index.length - shape.length);
  let position = 0;
  for (const [axis, size] of shape.entries()) {
    position = position * size + (size === 1 ? 0 : (own[axis] ?? 0));
  }
  return values[position] ?? Number.NaN;
}
