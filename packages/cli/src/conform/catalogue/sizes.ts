/**
 * Sizes at which the catalogue is held to the kit, the same for all of its parts, so that kernels
 * which are made for shapes are made few times. E is a square, since product keys need one, and
 * divides T, which balanced assignment asks for.
 */
export const SIZES: Readonly<Record<"hiddenSize" | "experts" | "topK", number>> = {
  hiddenSize: 8,
  experts: 9,
  topK: 2,
};

/** Inner width of an expert. */
export const INNER: number = 6;

/** Number of token ids. */
export const VOCABULARY: number = 7;

/** An uneven target: the share of the load that each expert shall have. */
export const TARGET: readonly number[] = [0.05, 0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.2];
