import { broadcastPlaces } from "../yardstick/places.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which sums are added by float atomics, in another order each time, though equal bits
 * are promised.
 */
export const sumsInAnyOrder: BrokenBackend = /*#__PURE__*/ broken({
  name: "sums-in-any-order",
  fault:
    "sums are added by float atomics, in another order each time, though equal bits are promised",
  caughtBy: "L0/deterministic/sums",
  shows: ["reduce"],
  makeKernels() {
    let calls = 0;
    return {
      reduce: (call) =>
        call.changed(([result], [x]) => {
          const { kind, axes } = call.attributes<{ kind: string; axes: readonly number[] }>();
          if (kind !== "sum" || x?.dtype !== "f32" || !result) return;
          const kept = x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
          const places = broadcastPlaces(kept, x.shape);
          const first = (calls++ * 7919) % Math.max(places.length, 1);
          result.data.fill(0);
          for (let step = 0; step < places.length; step++) {
            const at = (first + step) % places.length;
            const place = places[at] ?? 0;
            result.data[place] = (result.data[place] ?? 0) + (x.data[at] ?? 0);
          }
        }),
    };
  },
});
