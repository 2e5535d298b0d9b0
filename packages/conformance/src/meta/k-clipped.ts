import { byRank, topKBy } from "./parts/ranking.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which topK has room for 16 places and repeats the last beyond. */
export const kClipped: BrokenBackend = /*#__PURE__*/ broken({
  name: "k-clipped",
  fault: "topK has room for 16 places and repeats the last beyond",
  caughtBy: "L1/top-k/width-31",
  kernels: {
    topK: (call) =>
      topKBy(call, byRank, (list) => list.map((one, place) => list[Math.min(place, 15)] ?? one)),
  },
});
