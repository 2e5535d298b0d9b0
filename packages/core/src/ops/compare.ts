import { type Op, defineOp } from "../op.ts";
import { broadcastShapes } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { COMPUTED, NUMBERS, requireOneDType, requireOneOf, requireScalar } from "./checks.ts";

/** The relations of {@link compare}. */
export type CompareKind = "eq" | "ne" | "lt" | "le" | "gt" | "ge";

const KINDS: readonly CompareKind[] = ["eq", "ne", "lt", "le", "gt", "ge"];

/**
 * `bool`: whether the relation holds for each pair of elements; shapes broadcast. Without `b` the
 * scalar stands on the right, rounded to the dtype. `bool` inputs take `eq` and `ne` only. What a
 * comparison with NaN gives is IEEE's rule where a backend can: false, true for `ne`; test for NaN
 * with `unary` kind `isNaN`.
 */
export const compare: Op<
  [a: Tensor, b?: Tensor],
  { readonly kind: CompareKind; readonly scalar?: number | undefined }
> = /*#__PURE__*/ defineOp({
  name: "compare",
  inputs: ["a", "b?"],
  kernel: "inference",
  dynamic: ["scalar"],
  infer([a, b], { kind, scalar }) {
    requireOneOf("compare", "kind", kind, KINDS);
    const equality = kind === "eq" || kind === "ne";
    const dtype = requireOneDType("compare", [a, b], equality ? COMPUTED : NUMBERS);
    if (!b) requireScalar("compare", "scalar", scalar as number, dtype);
    return { shape: b ? broadcastShapes(a.shape, b.shape, "compare") : a.shape, dtype: "bool" };
  },
});
