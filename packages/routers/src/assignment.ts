import {
  ConfigError,
  ShapeError,
  type Tensor,
  and,
  countIds,
  equal,
  formatShape,
  full,
  greater,
  greaterEqual,
  isNaN,
  less,
  max,
  min,
  not,
  or,
  select,
  stopGradient,
  sub,
  sum,
  takeAlong,
  topK,
} from "@moiety/core";
import { auction } from "./assignment-auction.ts";
import { admit, queueFor } from "./assignment-places.ts";
import { requireWhole } from "./option.ts";

/** Options of {@link balancedAssignment}. */
export interface AssignmentOptions {
  /**
   * Rounds of the auction; 32 · E, at least 128, unless given. What has settled by then counts; the
   * fewer rounds, the further the total may stay behind the best one. Each round is about thirty
   * small ops, whether something still moves or not.
   */
  readonly rounds?: number | undefined;
  /** `[T]` bool: false for padding, which takes no place. */
  readonly mask?: Tensor | undefined;
}

/**
 * Gives every token one expert and every expert T/E tokens (padding counts in T), so that the sum of
 * `scores [T, E]` of token and expert is as large as possible: `[T]` i32, `E` for padding. Balanced
 * in any case; the sum comes from an auction with a fixed number of rounds, then from giving what is
 * left to the best expert with room. NaN counts as the lowest score. Nothing is read back, and
 * nothing has a gradient.
 *
 * Source: fairseq `clib/libbase/balanced_assignment.cpp`, which solves the same problem by an auction
 * of its own (ε a fiftieth of the range of scores, 100 rounds, then an approximation).
 * @throws ConfigError where E does not divide T
 */
export function balancedAssignment(scores: Tensor, options: AssignmentOptions = {}): Tensor {
  const [tokens = 0, experts = 0] = scores.shape;
  const { rounds = Math.max(128, 32 * experts), mask } = options;
  checkAssignment(scores, rounds);
  if (tokens === 0) return full(scores.backend, [0], 0, "i32");
  const places = tokens / experts;
  return scores.backend.scope(() => {
    const level = levelled(stopGradient(scores), mask);
    const found = experts === 1 ? undefined : auction(level, places, rounds);
    const chosen = found
      ? betterOf(level, complete(level, found.held, places), found.settled)
      : full(scores.backend, [tokens], 0, "i32");
    return mask ? select(mask, chosen, experts) : chosen;
  });
}

/** Refuses tokens that cannot be shared out evenly. @throws ConfigError */
function checkAssignment({ shape }: Tensor, rounds: number): void {
  const [tokens = 0, experts = 0] = shape;
  if (shape.length !== 2 || experts < 1) {
    throw new ShapeError(`scores are ${formatShape(shape)}, but must be [T, E]`, {
      shapes: [shape],
    });
  }
  requireWhole("rounds", rounds, 0);
  if (tokens % experts === 0) return;
  throw new ConfigError(
    `a balanced assignment of ${tokens} tokens to ${experts} experts is not possible; ` +
      `pad the batch to a multiple of ${experts} tokens`,
    "tokens",
    tokens,
  );
}

/**
 * Scores without NaN, less the best of their row: that changes no comparison of two assignments, and
 * keeps float32 fine where scores are large. Padding is indifferent.
 */
function levelled(scores: Tensor, mask: Tensor | undefined): Tensor {
  const [tokens = 0] = scores.shape;
  const broken = isNaN(scores);
  const lowest = min(select(broken, max(scores), scores)).reshape([1, 1]);
  // Where all are NaN there is no lowest either.
  const floor = select(isNaN(lowest), 0, lowest);
  const whole = select(broken, floor, scores);
  const level = sub(whole, max(whole, [-1], true));
  return mask ? select(mask.reshape([tokens, 1]), level, 0) : level;
}

/** Gives tokens without an expert the best one with room, until none is left. */
function complete(scores: Tensor, held: Tensor, places: number): Tensor {
  const experts = scores.shape[1] ?? 0;
  let chosen = held;
  // In each round all that ask find a place, or an expert more is full: E rounds are enough.
  for (let round = 0; round < experts; round++) {
    const before = chosen;
    chosen = scores.backend.scope(() => giveBest(scores, before, places));
  }
  return chosen;
}

function giveBest(scores: Tensor, held: Tensor, places: number): Tensor {
  const [tokens = 0, experts = 0] = scores.shape;
  const room = sub(full(scores.backend, [experts], places, "i32"), countIds(held, experts));
  const waiting = equal(held, experts);
  const open = and(waiting.reshape([tokens, 1]), greater(room, 0).reshape([1, experts]));
  const [best, wanted] = topK(scores, open, { k: 1 });
  const asked = select(waiting, wanted.reshape([tokens]), experts);
  const admitted = admit(queueFor(asked, best.reshape([tokens]), experts), room);
  return select(waiting, admitted, held);
}

/** The assignment with the larger sum; `settled` may have tokens without an expert, and then loses. */
function betterOf(scores: Tensor, completed: Tensor, settled: Tensor): Tensor {
  const [tokens = 0, experts = 0] = scores.shape;
  const total = (chosen: Tensor): Tensor =>
    sum(takeAlong(scores, chosen.reshape([tokens, 1]), { axis: 1 }));
  const whole = less(max(settled), experts);
  const better = or(not(whole), greaterEqual(total(completed), total(settled)));
  return select(better.reshape([1]), completed, settled);
}
