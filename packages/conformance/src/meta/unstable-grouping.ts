import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which assignments of one group stand in the opposite of their order. */
export const unstableGrouping: BrokenBackend = /*#__PURE__*/ broken({
  name: "unstable-grouping",
  fault: "assignments of one group stand in the opposite of their order",
  caughtBy: "L2/group-rows/stable",
  kernels: {
    groupRows: (call) =>
      call.changed(([order, inverse, offsets]) => {
        if (!order || !inverse || !offsets) return;
        for (let group = 0; group + 1 < offsets.data.length; group++) {
          order.data.subarray(offsets.data[group], offsets.data[group + 1]).reverse();
        }
        const live = offsets.data.at(-1) ?? 0;
        for (let row = 0; row < live; row++) inverse.data[order.data[row] ?? 0] = row;
      }),
  },
});
