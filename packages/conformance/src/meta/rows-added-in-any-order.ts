import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which segmentSum adds rows by float atomics, in another order each time. */
export const rowsAddedInAnyOrder: BrokenBackend = /*#__PURE__*/ broken({
  name: "rows-added-in-any-order",
  fault: "segmentSum adds rows by float atomics, in another order each time",
  caughtBy: "L2/deterministic/segment-sum",
  shows: ["segmentSum"],
  makeKernels() {
    let calls = 0;
    return {
      segmentSum: (call) =>
        call.changed(([sums], [rows, ids]) => {
          if (sums?.dtype !== "f32" || !rows || !ids) return;
          const [segments = 0] = sums.shape;
          const width = segments === 0 ? 0 : sums.data.length / segments;
          const count = ids.data.length;
          const first = (calls++ * 7919) % Math.max(count, 1);
          sums.data.fill(0);
          for (let step = 0; step < count; step++) {
            const row = (first + step) % count;
            const id = ids.data[row] ?? -1;
            if (id < 0 || id >= segments) continue;
            for (let column = 0; column < width; column++) {
              const at = id * width + column;
              sums.data[at] = (sums.data[at] ?? 0) + (rows.data[row * width + column] ?? 0);
            }
          }
        }),
    };
  },
});
