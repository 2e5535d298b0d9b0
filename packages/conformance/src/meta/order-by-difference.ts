import {
  type Order,
  inOrder,
  lowestIndexFirst,
  numbersFirst,
  shownFirst,
  topKBy,
} from "./parts/ranking.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

const byDifference: Order = (a, b) => {
  const difference = a.shown && b.shown ? b.score - a.score || 0 : 0;
  return Math.abs(difference) < 2 ** -126 ? 0 : difference;
};
const order: Order = /*#__PURE__*/ inOrder(
  shownFirst,
  numbersFirst,
  byDifference,
  lowestIndexFirst,
);

/**
 * A backend in which topK compares scores by their difference, which is flushed to 0 where it is
 * subnormal.
 */
export const orderByDifference: BrokenBackend = /*#__PURE__*/ broken({
  name: "order-by-difference",
  fault: "topK compares scores by their difference, which is flushed to 0 where it is subnormal",
  caughtBy: "L1/top-k/difference-is-subnormal",
  kernels: { topK: (call) => topKBy(call, order) },
});
