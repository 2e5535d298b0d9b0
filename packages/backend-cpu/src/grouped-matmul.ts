import type { HostArray } from "@moiety/core";
import type { Kernel } from "./kernel.ts";
import { type Pack, multiplyRows, packColumn, packColumns, packRows } from "./multiply.ts";

/** Each row times the matrix of its group; rows outside the groups are zero. */
export const groupedMatmul: Kernel = (call) => {
  const { transposed } = call.attributes<{ transposed?: boolean }>();
  const x = call.input(0);
  const weights = call.input(1);
  const { array: offsets } = call.input(2);
  const rowIndex = call.optional(3)?.array;
  const [count = 0, inner = 0] = x.shape;
  const [rows = 0, outer = 0] = call.spec(0).shape;
  const buffer = call.make(0);
  const array = call.view(0, buffer);
  const groups = offsets.length - 1;

  array.fill(0, 0, (offsets[0] ?? 0) * outer);
  array.fill(0, (offsets[groups] ?? 0) * outer, rows * outer);
  for (let group = 0; group < groups; group++) {
    const first = offsets[group] ?? 0;
    const size = (offsets[group + 1] ?? 0) - first;
    if (size <= 0) continue;
    const matrix = group * outer * inner;
    multiplyRows(
      call.scratch,
      { rows: size, pack: packPicked(x.array, count, inner, first, rowIndex) },
      {
        rows: outer,
        pack: transposed
          ? packColumns(weights.array, matrix, outer, inner)
          : packRows(weights.array, matrix, inner, inner),
      },
      inner,
      { array, offset: first * outer, rowStride: outer, columnStride: 1 },
    );
  }
  return [buffer];
};

/** For each group, the sum over its rows r, in order, of dy[r] ⊗ x[row of r]. */
export const groupedMatmulGradWeights: Kernel = (call) => {
  const { transposed } = call.attributes<{ transposed?: boolean }>();
  const x = call.input(0);
  const dy = call.input(1);
  const { array: offsets } = call.input(2);
  const rowIndex = call.optional(3)?.array;
  const [count = 0, inner = 0] = x.shape;
  const [, outer = 0] = dy.shape;
  const buffer = call.make(0);
  const array = call.view(0, buffer);
  for (let group = 0; group + 1 < offsets.length; group++) {
    const rows = rowsOf(offsets[group] ?? 0, offsets[group + 1] ?? 0);
    // A row that stands for no row of x adds nothing, whatever its gradient.
    const used = rowIndex ? rows.filter((row) => isInside(rowIndex[row], count)) : rows;
    const picked = rowIndex ? used.map((row) => rowIndex[row] ?? 0) : used;
    multiplyRows(
      call.scratch,
      { rows: outer, pack: packColumnsOf(dy.array, outer, used) },
      { rows: inner, pack: packColumnsOf(x.array, inner, picked) },
      used.length,
      {
        array,
        offset: group * outer * inner,
        rowStride: transposed ? 1 : inner,
        columnStride: transposed ? outer : 1,
      },
    );
  }
  return [buffer];
};

/** Packs rows of x: from `first` on, or those that the index names there; zeros outside x. */
function packPicked(
  x: HostArray,
  count: number,
  inner: number,
  first: number,
  rowIndex: HostArray | undefined,
): Pack {
  if (rowIndex === undefined) return packRows(x, first * inner, inner, inner);
  return (panel, start, rows) => {
    for (let row = 0; row < rows; row++) {
      const picked = rowIndex[first + start + row] ?? -1;
      const to = row * inner;
      if (!isInside(picked, count)) panel.fill(0, to, to + inner);
      else panel.set(x.subarray(picked * inner, (picked + 1) * inner), to);
    }
  };
}

/** Packs columns of a matrix of the given width as rows, along the rows that are listed. */
function packColumnsOf(source: HostArray, width: number, rows: Int32Array): Pack {
  return (panel, column, columns) => {
    for (let place = 0; place < rows.length; place++) {
      const from = (rows[place] ?? 0) * width + column;
      packColumn(panel, place, rows.length, source, from, columns);
    }
  };
}

/** The row numbers from `first` to before `end`. */
function rowsOf(first: number, end: number): Int32Array {
  return Int32Array.from({ length: Math.max(0, end - first) }, (_, index) => first + index);
}

function isInside(row: number | undefined, count: number): boolean {
  return row !== undefined && row >= 0 && row < count;
}
