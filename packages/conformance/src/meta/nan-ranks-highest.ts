import {
  type Order,
  highestFirst,
  inOrder,
  lowestIndexFirst,
  shownFirst,
  topKBy,
} from "./parts/ranking.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

const nanFirst: Order = (a, b) => Number(Number.isNaN(b.score)) - Number(Number.isNaN(a.score));
const order: Order = /*#__PURE__*/ inOrder(shownFirst, nanFirst, highestFirst, lowestIndexFirst);

/** A backend in which topK takes NaN for the largest of all scores. */
export const nanRanksHighest: BrokenBackend = /*#__PURE__*/ broken({
  name: "nan-ranks-highest",
  fault: "topK takes NaN for the largest of all scores",
  caughtBy: "L1/top-k/nan-below-all",
  kernels: { topK: (call) => topKBy(call, order) },
});
