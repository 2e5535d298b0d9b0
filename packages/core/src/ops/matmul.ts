import { type Op, defineOp } from "../op.ts";
import { broadcastShapes, sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { FLOATS, requireOneDType, requireRank, shapeError } from "./checks.ts";
import { sumTo } from "./elementwise.ts";

/** Attributes of {@link matmul}. */
export interface MatmulAttributes {
  /** `a` is `[…, K, M]`. */
  readonly transposeA?: boolean | undefined;
  /** `b` is `[…, N, K]`. */
  readonly transposeB?: boolean | undefined;
}

/**
 * Matrix product: `a […, M, K]` · `b […, K, N]` → `[…, M, N]`, float. Leading dimensions broadcast.
 * Products are added in ascending k. K = 0 gives zeros.
 */
export const matmul: Op<[a: Tensor, b: Tensor], MatmulAttributes> = /*#__PURE__*/ defineOp({
  name: "matmul",
  inputs: ["a", "b"],
  kernel: "inference",
  infer([a, b], { transposeA, transposeB }) {
    const dtype = requireOneDType("matmul", [a, b], FLOATS);
    requireRank("matmul", "a", a, 2);
    requireRank("matmul", "b", b, 2);
    const [rows = 0, innerA] = transposeA ? [a.shape.at(-1), a.shape.at(-2)] : a.shape.slice(-2);
    const [innerB, columns = 0] = transposeB ? [b.shape.at(-1), b.shape.at(-2)] : b.shape.slice(-2);
    if (innerA !== innerB) {
      throw shapeError("matmul", `inner sizes ${innerA} and ${innerB} differ`, [a, b]);
    }
    const batch = broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2), "matmul");
    return { shape: [...batch, rows, columns], dtype };
  },
  gradient({ inputs: [a, b], gradients: [gradient], attributes, needs }) {
    if (!gradient) return [];
    const transposeA = attributes.transposeA ?? false;
    const transposeB = attributes.transposeB ?? false;
    const left = (): Tensor =>
      transposeA
        ? matmul(b, gradient, { transposeA: transposeB, transposeB: true })
        : matmul(gradient, b, { transposeB: !transposeB });
    const right = (): Tensor => {
      // One product over all rows instead of one for each batch entry and a sum.
      const shared = b.rank === 2 && !transposeA;
      const [x, dy] = shared ? [flattened(a), flattened(gradient)] : [a, gradient];
      return transposeB
        ? matmul(dy, x, { transposeA: true, transposeB: transposeA })
        : matmul(x, dy, { transposeA: !transposeA });
    };
    return [
      needs[0] ? sumTo(left(), a.shape) : undefined,
      needs[1] ? sumTo(right(), b.shape) : undefined,
    ];
  },
});

/** All leading dimensions as one. */
function flattened(x: Tensor): Tensor {
  return x.reshape([sizeOf(x.shape.slice(0, -1)), x.shape.at(-1) ?? 1]);
}
