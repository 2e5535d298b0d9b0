import { type Shape, sizeOf } from "@moiety/core";
import type { Kernel } from "./kernel.ts";
import { broadcastStrides } from "./grid.ts";
import { type Pack, multiplyRows, packColumns, packRows } from "./multiply.ts";

/** Batched matrix product; either factor may be given transposed. */
export const matmul: Kernel = (call) => {
  const { transposeA, transposeB } = call.attributes<{
    transposeA?: boolean;
    transposeB?: boolean;
  }>();
  const a = call.input(0);
  const b = call.input(1);
  const { shape } = call.spec(0);
  const buffer = call.make(0);
  const array = call.view(0, buffer);
  const columns = shape.at(-1) ?? 1;
  const inner = a.shape.at(transposeA ? -2 : -1) ?? 1;
  // Rows that meet one and the same right factor are one matrix.
  const shared = !transposeA && sizeOf(b.shape) === inner * columns;
  const batch = shared ? [] : shape.slice(0, -2);
  const rows = shared ? sizeOf(shape.slice(0, -1)) : (shape.at(-2) ?? 1);

  const leftStrides = batchStrides(a.shape, batch, rows * inner);
  const rightStrides = batchStrides(b.shape, batch, inner * columns);
  const index = batch.map(() => 0);
  const matrices = sizeOf(batch);
  for (let matrix = 0; matrix < matrices; matrix++) {
    const leftOffset = dot(index, leftStrides);
    const rightOffset = dot(index, rightStrides);
    const packLeft: Pack = transposeA
      ? packColumns(a.array, leftOffset, rows, inner)
      : packRows(a.array, leftOffset, inner, inner);
    const packRight: Pack = transposeB
      ? packRows(b.array, rightOffset, inner, inner)
      : packColumns(b.array, rightOffset, columns, inner);
    multiplyRows(
      call.scratch,
      { rows, pack: packLeft },
      { rows: columns, pack: packRight },
      inner,
      { array, offset: matrix * rows * columns, rowStride: columns, columnStride: 1 },
    );
    advance(index, batch);
  }
  return [buffer];
};

/** Strides along the batch axes of a factor whose matrices have `matrix` elements. */
function batchStrides(shape: Shape, batch: Shape, matrix: number): number[] {
  return batch.length === 0
    ? []
    : broadcastStrides(shape.slice(0, -2), batch).map((stride) => stride * matrix);
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, axis) => sum + value * (b[axis] ?? 0), 0);
}

function advance(index: number[], sizes: readonly number[]): void {
  for (let axis = index.length - 1; axis >= 0; axis--) {
    index[axis] = (index[axis] ?? 0) + 1;
    if ((index[axis] ?? 0) < (sizes[axis] ?? 1)) return;
    index[axis] = 0;
  }
}
