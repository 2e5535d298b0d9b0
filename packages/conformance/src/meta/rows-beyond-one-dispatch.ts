import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which gatherRows starts at most 65535 workgroups, one for each row, and leaves out
 * the rest.
 */
export const rowsBeyondOneDispatch: BrokenBackend = /*#__PURE__*/ broken({
  name: "rows-beyond-one-dispatch",
  fault: "gatherRows starts at most 65535 workgroups, one for each row, and leaves out the rest",
  caughtBy: "L2/gather-rows/many-ids",
  kernels: {
    gatherRows: (call) =>
      call.changed(([rows], [, ids]) => {
        if (!rows || !ids || ids.data.length <= 65_535) return;
        rows.data.fill(0, 65_535 * (rows.data.length / ids.data.length));
      }),
  },
});
