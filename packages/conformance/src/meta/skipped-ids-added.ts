import { maximum, minimum, segmentSum } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which rows whose id is outside are added to the nearest segment instead of being
 * skipped.
 */
export const skippedIdsAdded: BrokenBackend = /*#__PURE__*/ broken({
  name: "skipped-ids-added",
  fault: "rows whose id is outside are added to the nearest segment instead of being skipped",
  caughtBy: "L2/segment-sum/skipped-ids",
  kernels: {
    segmentSum: (call) =>
      call.tensors(([rows, ids]) => {
        const { segments } = call.attributes<{ segments: number }>();
        if (!rows || !ids) return [];
        const inside = segments === 0 ? ids : maximum(minimum(ids, segments - 1), 0);
        return [segmentSum(rows, inside, { segments })];
      }),
  },
});
