import type { DType, HostArray } from "@moiety/core";
import { bytesPerElement } from "@moiety/core";
import { gridOf } from "./grid.ts";

/** Elements whose bits are moved, whatever they mean: one class for each element size. */
export type Bits = Uint8Array | Uint16Array | Int32Array | Float64Array;

/** Below this length a loop beats the built-in copy. */
const SHORT = 48;
/** Side of the squares in which a matrix is transposed, so that both sides stay in the cache. */
const SQUARE = 32;

/** An array's bits. */
export function bitsOf(array: HostArray, dtype: DType): Bits {
  const { buffer, byteOffset, length } = array;
  switch (bytesPerElement(dtype)) {
    case 1:
      return new Uint8Array(buffer, byteOffset, length);
    case 2:
      return new Uint16Array(buffer, byteOffset, length);
    case 4:
      return new Int32Array(buffer, byteOffset, length);
    default:
      return new Float64Array(buffer, byteOffset, length);
  }
}

/** Where a copy begins in an array, and how it walks along each axis of the copied shape. */
export interface Region {
  readonly bits: Bits;
  readonly offset: number;
  readonly strides: readonly number[];
}

/** Copies a shape of elements from one region to another. The two do not overlap. */
export function copyRegion(shape: readonly number[], source: Region, target: Region): void {
  const { sizes, strides } = gridOf(shape, [source.strides, target.strides]);
  if (sizes.includes(0)) return;
  const [from = [], to = []] = strides;
  const outer = sizes.length - 2;
  const rows = sizes[outer] ?? 1;
  const columns = sizes[outer + 1] ?? 1;
  const index = sizes.slice(0, Math.max(outer, 0)).map(() => 0);
  let read = source.offset;
  let write = target.offset;
  for (;;) {
    copyMatrix(
      rows,
      columns,
      { bits: source.bits, offset: read, row: from[outer] ?? 0, column: from[outer + 1] ?? 0 },
      { bits: target.bits, offset: write, row: to[outer] ?? 0, column: to[outer + 1] ?? 0 },
    );
    let axis = index.length - 1;
    for (; axis >= 0; axis--) {
      const size = sizes[axis] ?? 1;
      read += from[axis] ?? 0;
      write += to[axis] ?? 0;
      index[axis] = (index[axis] ?? 0) + 1;
      if ((index[axis] ?? 0) < size) break;
      index[axis] = 0;
      read -= (from[axis] ?? 0) * size;
      write -= (to[axis] ?? 0) * size;
    }
    if (axis < 0) return;
  }
}

interface Matrix {
  readonly bits: Bits;
  readonly offset: number;
  readonly row: number;
  readonly column: number;
}

function copyMatrix(rows: number, columns: number, source: Matrix, target: Matrix): void {
  if (source.column === 1 && target.column === 1) {
    for (let row = 0; row < rows; row++) {
      const from = source.offset + row * source.row;
      copyRun(source.bits, from, target.bits, target.offset + row * target.row, columns);
    }
    return;
  }
  for (let row = 0; row < rows; row += SQUARE) {
    const rowEnd = Math.min(rows, row + SQUARE);
    for (let column = 0; column < columns; column += SQUARE) {
      copySquare(row, rowEnd, column, Math.min(columns, column + SQUARE), source, target);
    }
  }
}

function copySquare(
  row: number,
  rowEnd: number,
  column: number,
  columnEnd: number,
  source: Matrix,
  target: Matrix,
): void {
  const { bits: read, column: readStep } = source;
  const { bits: write, column: writeStep } = target;
  for (let i = row; i < rowEnd; i++) {
    let from = source.offset + i * source.row + column * readStep;
    let to = target.offset + i * target.row + column * writeStep;
    for (let j = column; j < columnEnd; j++) {
      write[to] = read[from]!;
      from += readStep;
      to += writeStep;
    }
  }
}

/** Copies `length` neighbouring elements. */
export function copyRun(
  source: Bits,
  from: number,
  target: Bits,
  to: number,
  length: number,
): void {
  if (length >= SHORT) target.set(source.subarray(from, from + length), to);
  else for (let index = 0; index < length; index++) target[to + index] = source[from + index]!;
}
