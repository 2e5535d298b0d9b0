import type { HostArray } from "@moiety/core";
import type { TensorPart } from "./bind.ts";

/** The matrices of a tensor that is held transposed, and where they stand in the path's array. */
export interface Matrices {
  /** Rows of one, as it is held. */
  readonly height: number;
  /** Columns of one, as it is held. */
  readonly width: number;
  /** From the beginning of one to that of the next in the path's array. */
  readonly step: number;
}

/** The matrices of a tensor: its last two axes, or one in each piece. */
export function matricesOf({ shape, size, pieces }: TensorPart): Matrices {
  const width = shape.at(-1) ?? 1;
  if (pieces && width > 0) return { height: size / pieces.count / width, width, step: pieces.step };
  const height = shape.at(-2) ?? 1;
  return { height, width, step: height * width };
}

/**
 * Writes whole rows of matrices into their columns of the path's array, where the first matrix begins
 * at `start`. `firstRow` counts the rows of all matrices.
 */
export function scatterRows(
  rows: HostArray,
  { height, width, step }: Matrices,
  firstRow: number,
  target: HostArray,
  start: number,
): void {
  for (let row = 0; row * width < rows.length; row++) {
    const first =
      start + Math.floor((firstRow + row) / height) * step + ((firstRow + row) % height);
    for (let column = 0; column < width; column++) {
      target[first + column * height] = rows[row * width + column] ?? 0;
    }
  }
}

/** The inverse: fills `target` with all rows from their columns of the path's array. */
export function gatherColumns(
  source: HostArray,
  { height, width, step }: Matrices,
  start: number,
  target: HostArray,
): void {
  for (let row = 0; row * width < target.length; row++) {
    const first = start + Math.floor(row / height) * step + (row % height);
    for (let column = 0; column < width; column++) {
      target[row * width + column] = source[first + column * height] ?? 0;
    }
  }
}
