import { type Shape, sizeOf } from "@moiety/core";
import type { Kernel, KernelCall, Operand } from "../../kernel.ts";
import type { Segment } from "./job.ts";
import { packTiles } from "./left.ts";
import { rowsProduct, tilesProduct } from "./plain.ts";
import { launchProduct } from "./product.ts";
import { type PackedFactor, packRight, packWeights } from "./right.ts";

/** Batched matrix product; either factor may be given transposed. */
export const matmul: Kernel = (call) => {
  const { transposeA = false, transposeB = false } = call.attributes<{
    transposeA?: boolean;
    transposeB?: boolean;
  }>();
  const [a, b] = [call.input(0), call.input(1)];
  const { shape } = call.spec(0);
  const inner = a.shape.at(transposeA ? -2 : -1) ?? 1;
  const columns = shape.at(-1) ?? 1;
  // Rows that meet one and the same right factor are one matrix.
  const shared = !transposeA && sizeOf(b.shape.slice(0, -2)) === 1;
  const batch = shared ? [] : shape.slice(0, -2);
  const rows = shared ? sizeOf(shape.slice(0, -1)) : (shape.at(-2) ?? 1);
  const output = call.make(0);
  if (call.outputSize(0) === 0) return [output];
  const right = packB(call, b, { inner, columns, transposed: transposeB, kept: shared });
  const left = transposeA
    ? packA(call, a, rows, inner)
    : { address: a.address, matrixBytes: rows * inner * 4 };
  const segments = segmentsOf(batch, a.shape, b.shape, left, right, { rows, inner, columns });
  const launch = { segments, leftStride: inner * 4, out: output.address, outStride: columns * 4 };
  launchProduct(call, transposeA ? tilesProduct : rowsProduct, launch, {});
  return [output];
};

function packB(
  call: KernelCall,
  b: Operand,
  {
    inner,
    columns,
    transposed,
    kept,
  }: {
    readonly inner: number;
    readonly columns: number;
    readonly transposed: boolean;
    readonly kept: boolean;
  },
): PackedFactor {
  const factor = {
    dtype: "f32" as const,
    matrices: sizeOf(b.shape.slice(0, -2)),
    matrixStride: inner * columns,
    inner,
    innerStride: transposed ? 1 : columns,
    columns,
    columnStride: transposed ? inner : 1,
  };
  return kept ? packWeights(call, b, factor) : packRight(call, b.address, factor);
}

interface LeftMatrices {
  readonly address: number;
  readonly matrixBytes: number;
}

/** Packs matrices `[K, M]` in tiles. */
function packA(call: KernelCall, a: Operand, rows: number, inner: number): LeftMatrices {
  const source = a.address;
  const matrices = Array.from({ length: sizeOf(a.shape.slice(0, -2)) }, (_, matrix) => ({
    source: source + matrix * rows * inner * 4,
    inner,
  }));
  const addresses = packTiles(call, { matrices, rows, stride: rows * 4, gathered: false });
  const [address = 0, next = address] = addresses;
  return { address, matrixBytes: next - address };
}

/** One segment for each matrix of the output. */
function segmentsOf(
  batch: Shape,
  aShape: Shape,
  bShape: Shape,
  left: LeftMatrices,
  right: PackedFactor,
  sizes: { readonly rows: number; readonly inner: number; readonly columns: number },
): Segment[] {
  const leftOf = matrixIndex(aShape, batch);
  const rightOf = matrixIndex(bShape, batch);
  return Array.from({ length: sizeOf(batch) }, (_, matrix) => ({
    ...sizes,
    left: left.address + leftOf(matrix) * left.matrixBytes,
    right: right.address + rightOf(matrix) * right.matrixBytes,
    row: matrix * sizes.rows,
    group: matrix,
    leftStep: sizes.inner * 4,
  }));
}

/** Which matrix of a factor an output's matrix reads: leading dimensions broadcast. */
function matrixIndex(shape: Shape, batch: Shape): (matrix: number) => number {
  const missing = batch.length - (shape.length - 2);
  return (matrix) => {
    let rest = matrix;
    let index = 0;
    let stride = 1;
    for (let axis = batch.length - 1; axis >= 0; axis--) {
      const size = batch[axis] ?? 1;
      const own = axis < missing ? 1 : (shape[axis - missing] ?? 1);
      if (own > 1) index += (rest % size) * stride;
      rest = Math.floor(rest / size);
      stride *= own;
    }
    return index;
  };
}
