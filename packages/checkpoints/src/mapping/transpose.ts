import type { HostArray, Shape } from "@moiety/core";
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

/** The matrices of a part that is held in this shape: its last two axes, or one in each piece. */
export function matricesOf(shape: Shape, { size, pieces }: TensorPart): Matrices {
  const width = shape.at(-1) ?? 1;
  if (pieces && width > 0) return { height: size / pieces.count / width, width, step: pieces.step };
  const height = shape.at(-2) ?? 1;
  return { height, width, step: height * width };
}

/** Columns of a matrix, of which some are taken. */
export interface Columns {
  readonly width: number;
  /** The first that is taken. */
  readonly left: number;
  /** How many are taken. */
  readonly columns: number;
}

/**
 * Writes the columns of whole rows into `target`, where each column is a row of `height`; the first of
 * these rows is row `row` of its matrix.
 */
export function transposeInto(
  rows: HostArray,
  { width, left, columns }: Columns,
  target: HostArray,
  { height, row }: { readonly height: number; readonly row: number },
): void {
  const count = rows.length / width;
  const [from, to] = [bitsOf(rows), bitsOf(target)];
  for (let column = 0; column < columns; column++) {
    const place = column * height + row;
    const source = left + column;
    for (let index = 0; index < count; index++) {
      to[place + index] = from[index * width + source] ?? 0;
    }
  }
}

/** The same values as bits, where a NaN that passes through a number may lose its payload. */
function bitsOf(array: HostArray): HostArray {
  if (!(array instanceof Float32Array)) return array;
  return new Uint32Array(array.buffer, array.byteOffset, array.length);
}

/** The inverse: fills `target` with all rows from their columns of the path's array. */
export function gatherColumns(
  source: HostArray,
  { height, width, step }: Matrices,
  start: number,
  target: HostArray,
): void {
  const [from, to] = [bitsOf(source), bitsOf(target)];
  for (let row = 0; row * width < to.length; row++) {
    const first = start + Math.floor(row / height) * step + (row % height);
    for (let column = 0; column < width; column++) {
      to[row * width + column] = from[first + column * height] ?? 0;
    }
  }
}
