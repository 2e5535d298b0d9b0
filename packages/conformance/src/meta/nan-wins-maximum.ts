import { broadcastPlaces } from "../yardstick/places.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which the maximum of numbers and a NaN is NaN. */
export const nanWinsMaximum: BrokenBackend = /*#__PURE__*/ broken({
  name: "nan-wins-maximum",
  fault: "the maximum of numbers and a NaN is NaN",
  caughtBy: "L0/reduce/nan",
  kernels: {
    reduce: (call) =>
      call.changed(([result], [x]) => {
        const { kind, axes } = call.attributes<{ kind: string; axes: readonly number[] }>();
        if (kind !== "max" || x?.dtype !== "f32" || !result) return;
        const kept = x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
        const places = broadcastPlaces(kept, x.shape);
        for (const [at, place] of places.entries()) {
          if (Number.isNaN(x.data[at])) result.data[place] = Number.NaN;
        }
      }),
  },
});
