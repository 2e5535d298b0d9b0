import type { HostArray } from "@moiety/core";
import type { Scratch } from "./scratch.ts";

/** Dot products of so many left rows by so many right rows are computed together. */
const TILE_ROWS = 5;
const TILE_COLUMNS = 2;
/** Rows of the left factor that are held in float64 at a time; whole tiles. */
const LEFT_ROWS = 255;
/** Rows of the right factor that are held in float64 at a time; whole tiles. */
const RIGHT_ROWS = 64;

/**
 * Copies rows `first … first + count` of a factor, `inner` numbers each, one after the other to the
 * start of `panel`.
 */
export type Pack = (panel: Float64Array, first: number, count: number) => void;

/** Where products go: element (row, column) to `offset + row·rowStride + column·columnStride`. */
export interface Product {
  readonly array: HostArray;
  readonly offset: number;
  readonly rowStride: number;
  readonly columnStride: number;
}

/**
 * The dot product of every row of the left factor with every row of the right one, `inner` numbers
 * long: sums in index order in float64, rounded once. The order does not depend on where a row
 * stands or what else is multiplied, so a row's products always have the same bits.
 */
export function multiplyRows(
  scratch: Scratch,
  left: { readonly rows: number; readonly pack: Pack },
  right: { readonly rows: number; readonly pack: Pack },
  inner: number,
  product: Product,
): void {
  // Room for whole tiles: what the rows beyond the last one hold is computed with, but not stored.
  const leftRows = Math.min(LEFT_ROWS, Math.ceil(left.rows / TILE_ROWS) * TILE_ROWS);
  const rightRows = Math.min(RIGHT_ROWS, Math.ceil(right.rows / TILE_COLUMNS) * TILE_COLUMNS);
  const leftPanel = scratch.float64("left", leftRows * inner);
  const rightPanel = scratch.float64("right", rightRows * inner);
  const sums = scratch.float64("sums", TILE_ROWS * TILE_COLUMNS);
  for (let row = 0; row < left.rows; row += LEFT_ROWS) {
    const leftCount = Math.min(LEFT_ROWS, left.rows - row);
    left.pack(leftPanel, row, leftCount);
    for (let column = 0; column < right.rows; column += RIGHT_ROWS) {
      const rightCount = Math.min(RIGHT_ROWS, right.rows - column);
      right.pack(rightPanel, column, rightCount);
      const offset = product.offset + row * product.rowStride + column * product.columnStride;
      const corner = { ...product, offset };
      multiplyPanels(leftPanel, leftCount, rightPanel, rightCount, inner, sums, corner);
    }
  }
}

/** Multiplies two packed panels, which have room for whole tiles. */
function multiplyPanels(
  left: Float64Array,
  leftRows: number,
  right: Float64Array,
  rightRows: number,
  inner: number,
  sums: Float64Array,
  { array, offset, rowStride, columnStride }: Product,
): void {
  for (let row = 0; row < leftRows; row += TILE_ROWS) {
    const rows = Math.min(TILE_ROWS, leftRows - row);
    for (let column = 0; column < rightRows; column += TILE_COLUMNS) {
      const columns = Math.min(TILE_COLUMNS, rightRows - column);
      multiplyTile(left, row * inner, right, column * inner, inner, sums);
      const corner = offset + row * rowStride + column * columnStride;
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
          array[corner + i * rowStride + j * columnStride] = sums[i * TILE_COLUMNS + j]!;
        }
      }
    }
  }
}

/** Dot products of five rows with two rows: ten sums and their operands fit the registers. */
function multiplyTile(
  left: Float64Array,
  a0: number,
  right: Float64Array,
  b0: number,
  inner: number,
  sums: Float64Array,
): void {
  const a1 = a0 + inner;
  const a2 = a1 + inner;
  const a3 = a2 + inner;
  const a4 = a3 + inner;
  const b1 = b0 + inner;
  let s00 = 0;
  let s01 = 0;
  let s10 = 0;
  let s11 = 0;
  let s20 = 0;
  let s21 = 0;
  let s30 = 0;
  let s31 = 0;
  let s40 = 0;
  let s41 = 0;
  for (let k = 0; k < inner; k++) {
    const y0 = right[b0 + k]!;
    const y1 = right[b1 + k]!;
    const x0 = left[a0 + k]!;
    s00 += x0 * y0;
    s01 += x0 * y1;
    const x1 = left[a1 + k]!;
    s10 += x1 * y0;
    s11 += x1 * y1;
    const x2 = left[a2 + k]!;
    s20 += x2 * y0;
    s21 += x2 * y1;
    const x3 = left[a3 + k]!;
    s30 += x3 * y0;
    s31 += x3 * y1;
    const x4 = left[a4 + k]!;
    s40 += x4 * y0;
    s41 += x4 * y1;
  }
  sums[0] = s00;
  sums[1] = s01;
  sums[2] = s10;
  sums[3] = s11;
  sums[4] = s20;
  sums[5] = s21;
  sums[6] = s30;
  sums[7] = s31;
  sums[8] = s40;
  sums[9] = s41;
}

/**
 * Packs rows of a matrix: row r is the `inner` numbers from `offset + r·stride` on.
 */
export function packRows(source: HostArray, offset: number, stride: number, inner: number): Pack {
  return (panel, first, count) => {
    const start = offset + first * stride;
    if (stride === inner) {
      panel.set(source.subarray(start, start + count * inner));
      return;
    }
    for (let row = 0; row < count; row++) {
      const from = start + row * stride;
      panel.set(source.subarray(from, from + inner), row * inner);
    }
  };
}

/**
 * Packs columns of a matrix as rows: row r is the number at `offset + k·stride + r` for each k.
 */
export function packColumns(
  source: HostArray,
  offset: number,
  stride: number,
  inner: number,
): Pack {
  return (panel, first, count) => {
    for (let k = 0; k < inner; k++) {
      packColumn(panel, k, inner, source, offset + k * stride + first, count);
    }
  };
}

/** Writes `count` neighbouring numbers into place k of each row of a panel. */
export function packColumn(
  panel: Float64Array,
  k: number,
  inner: number,
  source: HostArray,
  from: number,
  count: number,
): void {
  for (let row = 0, to = k; row < count; row++, to += inner) panel[to] = source[from + row]!;
}
