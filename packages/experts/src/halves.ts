import { type Tensor, cast, concat, isFloat, matmul, slice } from "@moiety/core";

/** Numbers of a matrix that are made wide at once. */
const PIECE: number = 1 << 22;

/**
 * `x […, in]` through a matrix `[out, in]` that may be held in f16 or bf16: sums are those of the
 * dtype of x all the same. Of halves a few rows at a time are made wide, so that no matrix stands as a
 * whole in the dtype of x.
 */
export function throughRows(x: Tensor, weight: Tensor): Tensor {
  const { dtype } = x;
  if (!isHalf(weight) || !isFloat(dtype)) return matmul(x, weight, { transposeB: true });
  const [rows = 0, width = 0] = weight.shape;
  const step = Math.max(1, Math.floor(PIECE / Math.max(width, 1)));
  const products: Tensor[] = [];
  for (let first = 0; first < rows; first += step) {
    const sizes = [Math.min(step, rows - first), width];
    const piece = slice(weight, { starts: [first, 0], sizes });
    const numbers = cast(piece, { dtype });
    products.push(matmul(x, numbers, { transposeB: true }));
    piece.dispose();
    numbers.dispose();
  }
  const [first] = products;
  if (first !== undefined && products.length === 1) return first;
  const whole = concat(...products, { axis: x.rank - 1 });
  for (const product of products) product.dispose();
  return whole;
}

/** `x […, in]` through a matrix `[in, out]` that may be held in f16 or bf16. */
export function throughColumns(x: Tensor, weight: Tensor): Tensor {
  const { dtype } = x;
  if (!isHalf(weight) || !isFloat(dtype)) return matmul(x, weight);
  const numbers = cast(weight, { dtype });
  const product = matmul(x, numbers);
  numbers.dispose();
  return product;
}

function isHalf({ dtype }: Tensor): boolean {
  return dtype === "f16" || dtype === "bf16";
}
