/** Sizes of the layer that is measured. */
export interface LayerSizes {
  /** H. */
  readonly hidden: number;
  /** I of one expert. */
  readonly intermediate: number;
  /** E. */
  readonly experts: number;
  /** k. */
  readonly topK: number;
}

/** A matrix, or one for each expert, as a function of the element's place in memory. */
export interface HostMatrix {
  readonly shape: readonly number[];
  at(index: number): number;
}

/** A gated layer's weights, `[out, in]`; in `gateUp` the rows of gate and up take turns. */
export interface HostWeights {
  /** `[E, H]`. */
  readonly router: HostMatrix;
  /** `[E, 2I, H]`. */
  readonly gateUp: HostMatrix;
  /** `[E, H, I]`. */
  readonly down: HostMatrix;
}

/** Whole numbers that a quantised format holds exactly. */
export interface Grid {
  /** They go from −largest to largest. */
  readonly largest: number;
  /** A number so far out stands at the beginning of so many; of each row unless given. */
  readonly block?: number | undefined;
}

/** The largest whole number of an 8-bit format. */
export const LARGEST = 127;
/** What 8 bits with a scale for each row hold, and float32 and half floats too. */
export const EIGHT_BITS: Grid = { largest: LARGEST };
/** What 4 bits with a scale for each block of 32 hold. */
export const FOUR_BITS: Grid = { largest: 7, block: 32 };

/**
 * Weights that float32 and the formats of a grid all hold exactly, so that whoever computes with
 * whichever of them has to find the same: whole numbers times a power of two, the first of each row
 * or block one of the largest. The router's are always those of 8 bits.
 */
export function hostWeights(
  { hidden, intermediate, experts }: LayerSizes,
  grid: Grid = EIGHT_BITS,
): HostWeights {
  return {
    router: wholeMatrix(1, [experts, hidden], EIGHT_BITS),
    gateUp: wholeMatrix(2, [experts, 2 * intermediate, hidden], grid),
    down: wholeMatrix(3, [experts, hidden, intermediate], grid),
  };
}

/** Inputs `[T, H]`: evenly from −√3 to √3, so that their mean square is 1. */
export function hostInput(tokens: number, hidden: number): Float32Array {
  const values = new Float32Array(tokens * hidden);
  for (let index = 0; index < values.length; index++) {
    values[index] = ((2 * scramble(index, 4)) / 2 ** 32 - 1) * Math.sqrt(3);
  }
  return values;
}

/** The power of two by which a matrix's whole numbers are multiplied. */
export function stepOf(
  { shape }: Pick<HostMatrix, "shape">,
  { largest }: Grid = EIGHT_BITS,
): number {
  const inputs = shape.at(-1) ?? 1;
  return 2 ** Math.round(Math.log2(Math.sqrt(3 / inputs) / largest));
}

function wholeMatrix(seed: number, shape: readonly number[], grid: Grid): HostMatrix {
  const { largest, block = shape.at(-1) ?? 1 } = grid;
  const step = stepOf({ shape }, grid);
  return {
    shape,
    at(index) {
      const bits = scramble(index, seed);
      if (index % block === 0) return (bits & 1 ? largest : -largest) * step;
      return ((bits % (2 * largest + 1)) - largest) * step;
    },
  };
}

/** A u32 that looks random, the same for the same arguments: the finalizer of MurmurHash3. */
function scramble(index: number, seed: number): number {
  // Places beyond 2³² must differ from those below.
  let bits = (index ^ Math.imul(Math.floor(index / 2 ** 32) + seed, 0x9e3779b9)) | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
