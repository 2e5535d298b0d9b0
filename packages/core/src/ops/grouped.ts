import type { TensorSpec } from "../contract.ts";
import { type Op, defineOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import {
  FLOATS,
  requireDType,
  requireOneDType,
  requireRank,
  requireShape,
  shapeError,
} from "./checks.ts";
import { scatterRows } from "./gather.ts";

/** Attributes of the grouped matmuls. */
export interface GroupedAttributes {
  /** Weights are `[G, in, out]` instead of `[G, out, in]`. */
  readonly transposed?: boolean | undefined;
}

/**
 * Each group of rows times its own matrix: `x [N, K]`, `weights [G, M, K]` (`transposed`:
 * `[G, K, M]`), `offsets [G + 1]` i32 ascending, optional `rowIndex [A]` i32 → `[A, M]`; without
 * `rowIndex` A is N. Row r of group g, that is `offsets[g] ≤ r < offsets[g + 1]`, is
 * `weights[g] · x[rowIndex[r]]` (or `x[r]`), added in ascending k.
 *
 * The offsets are a window: `offsets[0]` may be above 0 and `offsets[G]` below A. Rows outside it
 * are zero, and nothing is read for them. A row index outside 0…N−1 reads a row of zeros.
 */
export const groupedMatmul: Op<
  [x: Tensor, weights: Tensor, offsets: Tensor, rowIndex?: Tensor],
  GroupedAttributes
> = /*#__PURE__*/ defineOp({
  name: "groupedMatmul",
  inputs: ["x", "weights", "offsets", "rowIndex?"],
  kernel: "inference",
  infer([x, weights, offsets, rowIndex], { transposed }) {
    const op = "groupedMatmul";
    const inputs = [x, weights, offsets, rowIndex];
    const dtype = requireOneDType(op, [x, weights], FLOATS);
    requireRank(op, "x", x, 2, 2);
    requireRank(op, "weights", weights, 3, 3);
    requireWindow(op, offsets, rowIndex, inputs);
    const [groups = 0, first = 0, second = 0] = weights.shape;
    const [width, inner] = transposed ? [second, first] : [first, second];
    requireShape(op, "offsets", offsets, [groups + 1], inputs);
    if (inner !== x.shape[1]) throw shapeError(op, "weights do not fit the width of x", inputs);
    return { shape: [(rowIndex ?? x).shape[0] ?? 0, width], dtype };
  },
  gradient({ inputs, gradients: [gradient], attributes, needs }) {
    if (!gradient) return [];
    const [x, weights, offsets, rowIndex] = inputs;
    return [
      needs[0] ? rowsGradient(x, gradient, weights, offsets, rowIndex, attributes) : undefined,
      needs[1] ? groupedMatmulGradWeights(x, gradient, offsets, rowIndex, attributes) : undefined,
    ];
  },
});

/**
 * Gradient of {@link groupedMatmul} with respect to its weights: `x [N, K]`, `dy [A, M]`, `offsets
 * [G + 1]` i32 ascending, optional `rowIndex [A]` i32 → `[G, M, K]` (`transposed`: `[G, K, M]`).
 * Entry g is the sum over the rows r of group g, in their order, of `dy[r] ⊗ x[rowIndex[r]]` (or
 * `x[r]`). Rows outside the window are not read; a row index outside 0…N−1 adds nothing; a group
 * without rows is zero.
 */
export const groupedMatmulGradWeights: Op<
  [x: Tensor, dy: Tensor, offsets: Tensor, rowIndex?: Tensor],
  GroupedAttributes
> = /*#__PURE__*/ defineOp({
  name: "groupedMatmulGradWeights",
  inputs: ["x", "dy", "offsets", "rowIndex?"],
  kernel: "training",
  infer([x, dy, offsets, rowIndex], { transposed }) {
    const op = "groupedMatmulGradWeights";
    const inputs = [x, dy, offsets, rowIndex];
    const dtype = requireOneDType(op, [x, dy], FLOATS);
    requireRank(op, "x", x, 2, 2);
    requireRank(op, "dy", dy, 2, 2);
    requireWindow(op, offsets, rowIndex, inputs);
    requireRank(op, "offsets", offsets, 1, 1);
    if ((offsets.shape[0] ?? 0) < 1 || dy.shape[0] !== (rowIndex ?? x).shape[0]) {
      throw shapeError(op, "dy must have a row for each of x (or of rowIndex)", inputs);
    }
    const [width = 0, inner = 0] = [dy.shape[1], x.shape[1]];
    const matrix = transposed ? [inner, width] : [width, inner];
    return { shape: [(offsets.shape[0] ?? 1) - 1, ...matrix], dtype };
  },
  gradient({ inputs, gradients: [gradient], attributes, needs }) {
    if (!gradient) return [];
    const [x, dy, offsets, rowIndex] = inputs;
    return [
      needs[0] ? rowsGradient(x, dy, gradient, offsets, rowIndex, attributes) : undefined,
      needs[1] ? groupedMatmul(x, gradient, offsets, rowIndex, attributes) : undefined,
    ];
  },
});

/** Rows times the transposed matrices, added back to the rows of x that they came from. */
function rowsGradient(
  x: Tensor,
  dy: Tensor,
  weights: Tensor,
  offsets: Tensor,
  rowIndex: Tensor | undefined,
  { transposed }: GroupedAttributes,
): Tensor {
  const rows = groupedMatmul(dy, weights, offsets, undefined, { transposed: !transposed });
  return rowIndex ? scatterRows(rows, rowIndex, x.shape[0] ?? 0) : rows;
}

function requireWindow(
  op: string,
  offsets: TensorSpec,
  rowIndex: TensorSpec | undefined,
  inputs: readonly (TensorSpec | undefined)[],
): void {
  requireDType(op, "offsets", offsets.dtype, ["i32"]);
  if (!rowIndex) return;
  requireDType(op, "rowIndex", rowIndex.dtype, ["i32"]);
  if (rowIndex.shape.length !== 1) throw shapeError(op, "rowIndex must be [A]", inputs);
}
