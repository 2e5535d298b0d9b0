import {
  type Tensor,
  add,
  cast,
  div,
  equal,
  full,
  gatherRows,
  greater,
  greaterEqual,
  max,
  maximum,
  min,
  mul,
  or,
  select,
  slice,
  sub,
  sum,
  takeAlong,
  topK,
  zeros,
} from "@moiety/core";
import { admit, queueFor } from "./assignment-places.ts";

/** Where an auction stands. */
interface Auction {
  /** `[E]`. */
  readonly prices: Tensor;
  /** `[T]` i32: the expert that each token holds a place of; `E` for none. */
  readonly held: Tensor;
  /** `[T]`: what each token bid for its place. */
  readonly levels: Tensor;
  /** `[1]`: by how much a bid goes beyond what a token is ready to pay. */
  readonly epsilon: Tensor;
  /** `[T]` i32: what was held when nobody bid any more, at the ε of that time; `E` before. */
  readonly settled: Tensor;
}

/** The first ε as a part of the range of scores, its fall from phase to phase, and the last one. */
const FIRST = 1 / 4;
const FALL = 5;
const LAST = 2e-5;
/** How far beyond ε, against rounding, a place must fall behind before its holder bids again. */
const SLACK = 1.25;

/**
 * An auction for `places` places of each expert, of which tokens want one: `scores [T, E]`, without
 * NaN → `held [T]` after the last round and `settled [T]`, both i32 with `E` for none. Bids of all
 * tokens are made at once; a token bids what makes its best expert ε worse than its second best, and
 * an expert keeps its highest bidders and takes the lowest of their bids as its price. When nobody
 * bids any more the total is within T · 1.25 ε of the best; then ε falls, down to 2e-5 of the range
 * of scores, and tokens bid again.
 *
 * Bertsekas and Castañon, "The auction algorithm for the transportation problem" (1989).
 */
export function auction(
  scores: Tensor,
  places: number,
  rounds: number,
): { readonly held: Tensor; readonly settled: Tensor } {
  const { backend, dtype } = scores;
  const [tokens = 0, experts = 0] = scores.shape;
  const range = sub(max(scores), min(scores)).reshape([1]);
  const nowhere = full(backend, [tokens], experts, "i32");
  // All scores equal: any ε will do, but 0 would leave bids without an order.
  const wide = maximum(range, 1e-30);
  const least = mul(wide, LAST);
  let state: Auction = {
    prices: zeros(backend, [experts], dtype),
    held: nowhere,
    levels: zeros(backend, [tokens], dtype),
    epsilon: mul(wide, FIRST),
    settled: nowhere,
  };
  for (let round = 0; round < rounds; round++) {
    const before = state;
    state = backend.scope(() => bid(scores, before, places, least));
  }
  return { held: state.held, settled: state.settled };
}

function bid(scores: Tensor, state: Auction, places: number, least: Tensor): Auction {
  const { prices, held, levels, epsilon, settled } = state;
  const [tokens = 0, experts = 0] = scores.shape;
  const column = (of: Tensor, at: number): Tensor =>
    slice(of, { starts: [0, at], sizes: [tokens, 1] }).reshape([tokens]);
  const pick = (of: Tensor, at: Tensor): Tensor =>
    takeAlong(of, at.reshape([tokens, 1]), { axis: 1, unique: true }).reshape([tokens]);
  const gains = sub(scores, prices);
  const [values, choices] = topK(gains, undefined, { k: 2 });
  const favourite = column(choices, 0);
  const behind = sub(column(values, 0), pick(gains, held));
  const bidding = or(equal(held, experts), greater(behind, mul(epsilon, SLACK)));
  const offer = add(sub(pick(scores, favourite), column(values, 1)), epsilon);
  const level = select(bidding, offer, levels);
  const queue = queueFor(select(bidding, favourite, held), level, experts);
  const last = gatherRows(queue.rows, add(queue.starts, places - 1));
  const lowest = gatherRows(level, gatherRows(queue.order, last));
  const quiet = equal(sum(cast(bidding, { dtype: "i32" })), 0).reshape([1]);
  return {
    prices: select(greaterEqual(queue.counts, places), maximum(prices, lowest), prices),
    held: admit(queue, places),
    levels: level,
    epsilon: select(quiet, maximum(div(epsilon, FALL), least), epsilon),
    settled: select(quiet, held, settled),
  };
}
