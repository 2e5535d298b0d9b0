import {
  type Order,
  highestFirst,
  inOrder,
  numbersFirst,
  shownFirst,
  topKBy,
} from "./parts/ranking.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

const higherIndexFirst: Order = (a, b) =>
  a.shown && b.shown ? b.index - a.index : a.index - b.index;
const order: Order = /*#__PURE__*/ inOrder(
  shownFirst,
  numbersFirst,
  highestFirst,
  higherIndexFirst,
);

/** A backend in which topK gives a tie to the higher index. */
export const tieToHigherIndex: BrokenBackend = /*#__PURE__*/ broken({
  name: "tie-to-higher-index",
  fault: "topK gives a tie to the higher index",
  caughtBy: "L1/top-k/ties-all-equal",
  kernels: { topK: (call) => topKBy(call, order) },
});
