import { type Op, defineOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { requireDType, requireRank, requireWhole } from "./checks.ts";

/**
 * Stable counting sort of assignments 0…A−1 by their id: `ids [A]` i32 →
 * - `order [A]`: the assignment at each row, by (id ascending, assignment ascending);
 * - `inverse [A]`: the row of each assignment;
 * - `offsets [groups + 1]`: where each group's rows begin; the last is the number of rows in groups;
 * - `group [A]`: the id of each row.
 *
 * All i32. An id outside 0…groups−1 is in no group: rows from `offsets[groups]` on have order A and
 * group `groups`, and the inverse of such an assignment is A, so that `gatherRows` gives it zeros.
 */
export const groupRows: Op<
  [ids: Tensor],
  { readonly groups: number },
  [order: Tensor, inverse: Tensor, offsets: Tensor, group: Tensor]
> = /*#__PURE__*/ defineOp({
  name: "groupRows",
  inputs: ["ids"],
  outputs: ["order", "inverse", "offsets", "group"],
  kernel: "inference",
  infer([ids], { groups }) {
    requireDType("groupRows", "ids", ids.dtype, ["i32"]);
    requireRank("groupRows", "ids", ids, 1, 1);
    requireWhole("groupRows", "groups", groups, 0);
    const rows = { shape: ids.shape, dtype: "i32" } as const;
    return [rows, rows, { shape: [groups + 1], dtype: "i32" }, rows];
  },
});
