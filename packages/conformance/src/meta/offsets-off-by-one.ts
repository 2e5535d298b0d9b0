import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which every group but the first begins one row too late. */
export const offsetsOffByOne: BrokenBackend = /*#__PURE__*/ broken({
  name: "offsets-off-by-one",
  fault: "every group but the first begins one row too late",
  caughtBy: "L2/group-rows/groups-7",
  kernels: {
    groupRows: (call) =>
      call.changed(([, , offsets]) => {
        for (let group = 1; group + 1 < (offsets?.data.length ?? 0); group++) {
          if (offsets) offsets.data[group] = (offsets.data[group] ?? 0) + 1;
        }
      }),
  },
});
