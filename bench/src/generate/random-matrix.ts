/** The whole numbers, times a step, that a matrix is made of. */
export interface WholeGrid {
  /** They go from −largest to largest; every 32nd is one of these two. */
  readonly largest: number;
}

/** A matrix, or one for each expert, whose values can be had from anywhere. */
export interface RandomMatrix {
  readonly shape: readonly number[];
  /** What its whole numbers are multiplied with. */
  readonly step: number;
  /** Gives some of its values in the order in which they lie. */
  values(start: number, count: number): Float32Array;
}

/** How many neighbours share a scale in the formats of blocks. */
export const BLOCK = 32;
/** Blocks that all matrices are cut from: a prime, so that no two rows of a matrix are alike. */
const POOL_BLOCKS = 131_071;

/** Matrices of the same whole numbers, each beginning somewhere else. */
export interface NumberPool {
  readonly grid: WholeGrid;
  matrix(seed: number, shape: readonly number[]): RandomMatrix;
}

/** Draws the whole numbers of all matrices of a grid, once any are asked for. */
export function numberPool(grid: WholeGrid): NumberPool {
  const size = POOL_BLOCKS * BLOCK;
  let drawn: Int8Array | undefined;
  return {
    grid,
    matrix(seed, shape) {
      const step = stepFor(shape, grid);
      const first = (seed % POOL_BLOCKS) * BLOCK;
      return {
        shape,
        step,
        values(start, count) {
          const numbers = (drawn ??= draw(size, grid));
          const values = new Float32Array(count);
          let at = (first + start) % size;
          for (let index = 0; index < count; index++) {
            values[index] = (numbers[at] ?? 0) * step;
            at = at + 1 === size ? 0 : at + 1;
          }
          return values;
        },
      };
    },
  };
}

function draw(size: number, { largest }: WholeGrid): Int8Array {
  const numbers = new Int8Array(size);
  for (let index = 0; index < size; index++) {
    const bits = scramble(index);
    const end = bits & 1 ? largest : -largest;
    numbers[index] = index % BLOCK === 0 ? end : (bits % (2 * largest + 1)) - largest;
  }
  return numbers;
}

/**
 * The power of two that whole numbers are multiplied with, so that the sum of products with a row of
 * inputs of mean square 1 has about that mean square as well.
 */
export function stepFor(shape: readonly number[], { largest }: WholeGrid): number {
  const inputs = shape.at(-1) ?? 1;
  return 2 ** Math.round(Math.log2(Math.sqrt(3 / inputs) / largest));
}

/** A number for each path: FNV-1a. */
export function seedOf(path: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < path.length; at++) {
    hash = Math.imul(hash ^ path.charCodeAt(at), 0x01000193);
  }
  return hash >>> 1;
}

/** A u32 that looks random: the finalizer of MurmurHash3. */
function scramble(index: number): number {
  let bits = Math.imul(index + 1, 0x9e3779b9);
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
