import { type Tensor, matmul, slice } from "@moiety/core";

/** Attributes of `matmul`, as a kernel gets them. */
export interface Transposed {
  readonly transposeA?: boolean | undefined;
  readonly transposeB?: boolean | undefined;
}

/** Products over pieces of the inner dimension, `size` terms each; their sum is the product. */
export function productPieces(a: Tensor, b: Tensor, how: Transposed, size: number): Tensor[] {
  const axisA = a.rank - (how.transposeA ? 2 : 1);
  const axisB = b.rank - (how.transposeB ? 1 : 2);
  const depth = a.shape[axisA] ?? 0;
  const pieces: Tensor[] = [];
  for (let start = 0; start < depth; start += size) {
    const length = Math.min(size, depth - start);
    pieces.push(matmul(cut(a, axisA, start, length), cut(b, axisB, start, length), how));
  }
  return pieces.length > 0 ? pieces : [matmul(a, b, how)];
}

function cut(x: Tensor, axis: number, start: number, length: number): Tensor {
  const starts = x.shape.map((_, other) => (other === axis ? start : 0));
  return slice(x, { starts, sizes: x.shape.with(axis, length) });
}
