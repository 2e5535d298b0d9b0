import type { FloatDType } from "../dtype.ts";
import { type Op, defineOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { requireFloat, requireRank, shapeError } from "./checks.ts";
import { checkHeld, heldFormat, heldNumbers, heldRows, heldShape } from "./held.ts";
import { concat, slice } from "./layout.ts";
import { matmul } from "./matmul.ts";
import type { ProductFormat } from "./quantized.ts";

/** Attributes of {@link linear}. */
export interface LinearAttributes {
  /** Format of a weight that is held in codes. */
  readonly format?: ProductFormat | undefined;
}

/** Numbers of a weight that are made wide at once. */
const PIECE: number = 1 << 22;

/**
 * `x […, K]` through a matrix `weight [N, K]`: `x · weightᵀ`, `[…, N]`, float. The weight may be held in
 * f16 or bf16, or be codes with `scales` of a format (see {@link dequantize}); products and sums are
 * those of the dtype of `x` all the same, and only `x` then has a gradient.
 */
export const linear: Op<
  [x: Tensor, weight: Tensor, scales?: Tensor | undefined],
  LinearAttributes
> = /*#__PURE__*/ defineOp<
  [x: Tensor, weight: Tensor, scales?: Tensor | undefined],
  LinearAttributes,
  Tensor,
  []
>({
  name: "linear",
  inputs: ["x", "weight", "scales?"],
  infer([x, weight, scales], { format }) {
    requireFloat("linear", "x", x.dtype);
    requireRank("linear", "x", x, 1);
    checkHeld("linear", x, weight, scales, format);
    const [rows = 0, inner, ...more] = heldShape(weight.shape, format);
    if (inner === undefined || more.length > 0 || x.shape.at(-1) !== inner) {
      const specs = [x, weight, scales];
      throw shapeError("linear", "x must be […, K] and the weight's numbers [N, K]", specs);
    }
    return { shape: [...x.shape.slice(0, -1), rows], dtype: x.dtype };
  },
  format: ([, weight], { format }) => heldFormat(weight, format),
  decompose([x, weight, scales], { format }) {
    if (heldFormat(weight, format) === undefined) return rowsTimes(x, weight);
    const source = heldRows(x, format);
    const [rows = 0, inner = 0] = heldShape(weight.shape, format);
    const step = Math.max(1, Math.floor(PIECE / Math.max(1, inner)));
    const numbers = (held: Tensor, scalesOfHeld?: Tensor): Tensor =>
      heldNumbers(held, scalesOfHeld, format, x.dtype as FloatDType);
    if (step >= rows) return rowsTimes(source, numbers(weight, scales));
    const products: Tensor[] = [];
    for (let first = 0; first < rows; first += step) {
      const count = Math.min(step, rows - first);
      const held = someRows(weight, first, count);
      const heldScales = scales && someRows(scales, first, count);
      const wide = numbers(held, heldScales);
      products.push(rowsTimes(source, wide));
      // No wide matrix shall stand as a whole.
      for (const piece of [held, heldScales, wide]) piece?.dispose();
    }
    return concat(...products, { axis: x.rank - 1 });
  },
});

/** `x […, K]` times the transpose of `[N, K]`, also where x is one row. */
function rowsTimes(x: Tensor, matrix: Tensor): Tensor {
  if (x.rank > 1) return matmul(x, matrix, { transposeB: true });
  const [rows = 0] = matrix.shape;
  return matmul(x.reshape([1, x.size]), matrix, { transposeB: true }).reshape([rows]);
}

/** Rows `first` … `first + count − 1`. */
function someRows(x: Tensor, first: number, count: number): Tensor {
  const [, ...rest] = x.shape;
  return slice(x, { starts: [first, ...rest.map(() => 0)], sizes: [count, ...rest] });
}
