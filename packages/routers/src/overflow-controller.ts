import {
  ConfigError,
  type Routing,
  type Tensor,
  UnsupportedError,
  add,
  and,
  cast,
  div,
  equal,
  greater,
  maximum,
  mul,
  oneHot,
  select,
  stopGradient,
  sum,
} from "@moiety/core";
import { floatOf } from "./dtype.ts";
import { refuseOption, requireNotNegative } from "./option.ts";
import type { StagedRouterState } from "./staged-router.ts";

/** Options of {@link overflowController}. */
export interface OverflowControllerOptions {
  /** m: how much of the old threshold stays in a step; 0.99 unless given. */
  readonly momentum?: number | undefined;
  /** φ: which part of the usual score a rerouted token must reach; 0.5 unless given. */
  readonly fraction?: number | undefined;
}

/** Turns the routings of a training step into new overflow thresholds, without a gradient. */
export interface OverflowController {
  readonly momentum: number;
  readonly fraction: number;
  /**
   * The state after a step, from the routings of all its micro-batches. Inputs stay as they are.
   * @throws ConfigError, UnsupportedError
   */
  update(state: StagedRouterState, routings: readonly Routing[]): StagedRouterState;
}

/**
 * Learns from which score on an overflowing token is worth sending to its next best expert:
 * θ_e ← m · θ_e + (1 − m) · φ · (mean score at expert e of the tokens that chose e and found a place
 * there). So an expert takes in tokens that fit at least φ as well as its own. One threshold for all
 * takes the mean over the choices of all experts. Experts whom nobody chose keep theirs; padding and
 * rerouted tokens do not count.
 * @throws ConfigError
 */
export function overflowController(options: OverflowControllerOptions = {}): OverflowController {
  const { momentum = 0.99, fraction = 0.5 } = options;
  if (!(momentum >= 0 && momentum < 1)) {
    throw refuseOption("momentum", momentum, "from 0 to below 1");
  }
  requireNotNegative("fraction", fraction);
  return {
    momentum,
    fraction,
    update(state, routings) {
      const { overflowThreshold: threshold } = state;
      if (threshold === undefined) {
        throw new ConfigError(
          "overflowController: the router's state has no overflowThreshold; give it a learned threshold",
          "state.overflowThreshold",
          undefined,
        );
      }
      const next = threshold.backend.scope(() => {
        const { scores, counts } = ownScores(routings, threshold.size === 1);
        const usual = cast(mul(div(scores, maximum(counts, 1)), fraction), {
          dtype: threshold.dtype,
        });
        const moved = add(mul(threshold, momentum), mul(usual, 1 - momentum));
        return select(greater(counts, 0), moved, threshold);
      });
      return { ...state, overflowThreshold: next };
    },
  };
}

/** Sums of scores and numbers of the choices that found their place: `[E]`, or `[1]` of all. */
function ownScores(
  routings: readonly Routing[],
  pooled: boolean,
): { readonly scores: Tensor; readonly counts: Tensor } {
  const parts = routings.map((routing) => {
    if (routing.kind !== "token-choice") {
      throw new UnsupportedError(
        `overflowController learns from choices of tokens, not from a routing of kind ${routing.kind}`,
        "token-choice routing",
      );
    }
    const { selected, indices, experts, mask } = routing;
    const [tokens = 0] = selected.shape;
    const stayed = equal(selected, indices);
    const own = mask ? and(stayed, mask.reshape([tokens, 1])) : stayed;
    const scores = stopGradient(routing.scores);
    const dtype = floatOf(scores);
    const marks = sum(oneHot(select(own, selected, experts), experts, dtype), [1]);
    const reduce = (of: Tensor): Tensor => (pooled ? sum(of).reshape([1]) : sum(of, [0]));
    return {
      scores: reduce(select(greater(marks, 0), scores, 0)),
      counts: reduce(marks),
    };
  });
  const [first, ...rest] = parts;
  if (first === undefined) {
    throw new ConfigError("overflowController needs a routing", "routings", routings);
  }
  return rest.reduce(
    (total, part) => ({
      scores: add(total.scores, part.scores),
      counts: add(total.counts, part.counts),
    }),
    first,
  );
}
