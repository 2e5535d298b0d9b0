import type { HostArray } from "@moiety/core";
import type { Scratch } from "./scratch.ts";

/** Rows of the left factor that are held in float64 at a time; a multiple of {@link TILE}. */
const LEFT_ROWS = 256;
/** Rows of the right factor that are held in float64 at a time; a multiple of {@link TILE}. */
const RIGHT_ROWS = 64;
/** Side of the square of dot products that are computed together. */
const TILE = 4;

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
  const leftPanel = scratch.float64("left", Math.min(LEFT_ROWS, left.rows) * inner);
  const rightRows = Math.min(RIGHT_ROWS, Math.ceil(right.rows / TILE) * TILE);
  const rightPanel = scratch.float64("right", rightRows * inner);
  const sums = scratch.float64("sums", TILE * TILE);
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

/** Multiplies two packed panels. The right one has room for whole tiles. */
function multiplyPanels(
  left: Float64Array,
  leftRows: number,
  right: Float64Array,
  rightRows: number,
  inner: number,
  sums: Float64Array,
  { array, offset, rowStride, columnStride }: Product,
): void {
  for (let column = 0; column < rightRows; column += TILE) {
    const columns = Math.min(TILE, rightRows - column);
    for (let row = 0; row < leftRows;) {
      const rows = leftRows - row >= TILE ? TILE : 1;
      if (rows === TILE) tile(left, row * inner, right, column * inner, inner, sums);
      else strip(left, row * inner, right, column * inner, inner, sums);
      const corner = offset + row * rowStride + column * columnStride;
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
          array[corner + i * rowStride + j * columnStride] = sums[i * TILE + j]!;
        }
      }
      row += rows;
    }
  }
}

/** Dot products of four rows with four rows: 16 sums live in registers. */
function tile(
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
  const b1 = b0 + inner;
  const b2 = b1 + inner;
  const b3 = b2 + inner;
  let s00 = 0;
  let s01 = 0;
  let s02 = 0;
  let s03 = 0;
  let s10 = 0;
  let s11 = 0;
  let s12 = 0;
  let s13 = 0;
  let s20 = 0;
  let s21 = 0;
  let s22 = 0;
  let s23 = 0;
  let s30 = 0;
  let s31 = 0;
  let s32 = 0;
  let s33 = 0;
  for (let k = 0; k < inner; k++) {
    const x0 = left[a0 + k]!;
    const x1 = left[a1 + k]!;
    const x2 = left[a2 + k]!;
    const x3 = left[a3 + k]!;
    const y0 = right[b0 + k]!;
    const y1 = right[b1 + k]!;
    const y2 = right[b2 + k]!;
    const y3 = right[b3 + k]!;
    s00 += x0 * y0;
    s01 += x0 * y1;
    s02 += x0 * y2;
    s03 += x0 * y3;
    s10 += x1 * y0;
    s11 += x1 * y1;
    s12 += x1 * y2;
    s13 += x1 * y3;
    s20 += x2 * y0;
    s21 += x2 * y1;
    s22 += x2 * y2;
    s23 += x2 * y3;
    s30 += x3 * y0;
    s31 += x3 * y1;
    s32 += x3 * y2;
    s33 += x3 * y3;
  }
  sums[0] = s00;
  sums[1] = s01;
  sums[2] = s02;
  sums[3] = s03;
  sums[4] = s10;
  sums[5] = s11;
  sums[6] = s12;
  sums[7] = s13;
  sums[8] = s20;
  sums[9] = s21;
  sums[10] = s22;
  sums[11] = s23;
  sums[12] = s30;
  sums[13] = s31;
  sums[14] = s32;
  sums[15] = s33;
}

/** Dot products of one row with four rows. */
function strip(
  left: Float64Array,
  a0: number,
  right: Float64Array,
  b0: number,
  inner: number,
  sums: Float64Array,
): void {
  const b1 = b0 + inner;
  const b2 = b1 + inner;
  const b3 = b2 + inner;
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  for (let k = 0; k < inner; k++) {
    const x = left[a0 + k]!;
    s0 += x * right[b0 + k]!;
    s1 += x * right[b1 + k]!;
    s2 += x * right[b2 + k]!;
    s3 += x * right[b3 + k]!;
  }
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  sums[3] = s3;
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
