import { byRank, topKBy } from "./parts/ranking.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which topK looks for the place of each of its values and so finds the first of
 * equals again and again.
 */
export const duplicateIds: BrokenBackend = /*#__PURE__*/ broken({
  name: "duplicate-ids",
  fault:
    "topK looks for the place of each of its values and so finds the first of equals again and again",
  caughtBy: "L1/top-k/ties-distinct",
  kernels: {
    topK: (call) =>
      topKBy(call, byRank, (list, row) =>
        list.map((one) => row.find(({ score, shown }) => shown && score === one.score) ?? one),
      ),
  },
});
