import { gatherRows, maximum, minimum } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which ids outside a table take its first or last row instead of zeros. */
export const idsClamped: BrokenBackend = /*#__PURE__*/ broken({
  name: "ids-clamped",
  fault: "ids outside a table take its first or last row instead of zeros",
  caughtBy: "L2/gather-rows/out-of-range",
  kernels: {
    gatherRows: (call) =>
      call.tensors(([table, ids]) => {
        if (!table || !ids) return [];
        const last = Math.max((table.shape[0] ?? 0) - 1, 0);
        return [gatherRows(table, maximum(minimum(ids, last), 0))];
      }),
  },
});
