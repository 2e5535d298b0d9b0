import { type Op, defineOp } from "../op.ts";
import { resolveAxis } from "../shape.ts";
import { type Tensor, donate } from "../tensor.ts";
import {
  type Specs,
  FLOATS,
  NUMBERS,
  requireDType,
  requireRank,
  requireShape,
  requireWhole,
} from "./checks.ts";
import { zerosLike } from "./creation.ts";
import { putAlong, takeAlong } from "./gather.ts";
import { moveAxis } from "./transpose.ts";

export { groupRows } from "./grouping.ts";

/**
 * The k largest along the last axis: `scores […, E]` float, optional `mask […, E]` bool (false: not
 * selectable) → `values […, k]`, `indices […, k]` i32, sorted by (value descending, index
 * ascending). NaN ranks below every number; masked elements come last of all, in the order of their
 * indices, and keep their scores. −0 equals 0. k ≤ E.
 */
export const topK: Op<
  [scores: Tensor, mask?: Tensor],
  { readonly k: number },
  [values: Tensor, indices: Tensor]
> = /*#__PURE__*/ defineOp({
  name: "topK",
  inputs: ["scores", "mask?"],
  outputs: ["values", "indices"],
  kernel: "inference",
  infer([scores, mask], { k }) {
    requireDType("topK", "scores", scores.dtype, FLOATS);
    requireSortable("topK", "scores", [scores, mask]);
    requireWhole("topK", "k", k, 0, scores.shape.at(-1));
    const shape = scores.shape.with(-1, k);
    return [
      { shape, dtype: scores.dtype },
      { shape, dtype: "i32" },
    ];
  },
  gradient({ inputs: [scores], outputs: [, indices], gradients: [gradient] }) {
    if (!gradient) return [];
    return [putAlong(donate(zerosLike(scores)), indices, gradient, { axis: scores.rank - 1 })];
  },
  replay([scores], _, [indices]) {
    const kept = indices as Tensor;
    return [takeAlong(scores, kept, { axis: scores.rank - 1, unique: true }), kept];
  },
});

/**
 * The order that sorts `x […, E]` along the last axis, ascending unless `descending`: i32 indices.
 * Stable: ties keep the lower index first in both directions. NaN ranks below every number (so it
 * comes first when ascending); elements with a false `mask […, E]` come last of all in both
 * directions, in the order of their indices. −0 equals 0.
 */
export const argsort: Op<
  [x: Tensor, mask?: Tensor],
  { readonly descending?: boolean | undefined }
> = /*#__PURE__*/ defineOp({
  name: "argsort",
  inputs: ["x", "mask?"],
  kernel: "inference",
  infer([x, mask]) {
    requireDType("argsort", "x", x.dtype, NUMBERS);
    requireSortable("argsort", "x", [x, mask]);
    return { shape: x.shape, dtype: "i32" };
  },
});

/** Index of the largest element along an axis (negative from the end), which is removed: i32. */
export function argmax(x: Tensor, axis = -1): Tensor {
  const [, indices] = topK(moveAxis(x, resolveAxis(axis, x.rank, "argmax"), -1), undefined, {
    k: 1,
  });
  return indices.reshape(indices.shape.slice(0, -1));
}

function requireSortable(op: string, name: string, [x, mask]: Specs): void {
  if (!x) return;
  requireRank(op, name, x, 1);
  if (!mask) return;
  requireDType(op, "mask", mask.dtype, ["bool"]);
  requireShape(op, "mask", mask, x.shape, [x, mask]);
}
