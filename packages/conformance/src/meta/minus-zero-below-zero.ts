import {
  type Order,
  byRank,
  highestFirst,
  inOrder,
  numbersFirst,
  shownFirst,
  topKBy,
} from "./parts/ranking.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

const plusFirst: Order = (a, b) =>
  a.score === 0 && b.score === 0 && a.shown && b.shown
    ? Number(Object.is(a.score, -0)) - Number(Object.is(b.score, -0))
    : 0;
const order: Order = /*#__PURE__*/ inOrder(
  shownFirst,
  numbersFirst,
  highestFirst,
  plusFirst,
  byRank,
);

/** A backend in which topK ranks −0 below 0, as keys made of bits do. */
export const minusZeroBelowZero: BrokenBackend = /*#__PURE__*/ broken({
  name: "minus-zero-below-zero",
  fault: "topK ranks −0 below 0, as keys made of bits do",
  caughtBy: "L1/top-k/minus-zero",
  kernels: { topK: (call) => topKBy(call, order) },
});
