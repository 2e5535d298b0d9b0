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

/** The largest whole number of an 8-bit format. */
export const LARGEST = 127;

/**
 * Weights that float32, half floats and 8-bit whole numbers with a scale for each row all hold
 * exactly, so that whoever computes with whichever of them has to find the same: whole numbers from
 * −127 to 127, the first of each row 127 or −127, times a power of two.
 */
export function hostWeights({ hidden, intermediate, experts }: LayerSizes): HostWeights {
  return {
    router: wholeMatrix(1, [experts, hidden]),
    gateUp: wholeMatrix(2, [experts, 2 * intermediate, hidden]),
    down: wholeMatrix(3, [experts, hidden, intermediate]),
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
export function stepOf({ shape }: HostMatrix): number {
  const inputs = shape.at(-1) ?? 1;
  return 2 ** Math.round(Math.log2(Math.sqrt(3 / inputs) / LARGEST));
}

function wholeMatrix(seed: number, shape: readonly number[]): HostMatrix {
  const width = shape.at(-1) ?? 1;
  const matrix = { shape, at };
  const step = stepOf(matrix);
  function at(index: number): number {
    const bits = scramble(index, seed);
    if (index % width === 0) return (bits & 1 ? LARGEST : -LARGEST) * step;
    return ((bits % (2 * LARGEST + 1)) - LARGEST) * step;
  }
  return matrix;
}

/** A u32 that looks random, the same for the same arguments: the finalizer of MurmurHash3. */
function scramble(index: number, seed: number): number {
  // Places beyond 2³² must differ from those below.
  let bits = (index ^ Math.imul(Math.floor(index / 2 ** 32) + seed, 0x9e3779b9)) | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
