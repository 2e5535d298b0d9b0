import {
  ConfigError,
  type ExpertChoice,
  type Routing,
  type Tensor,
  UnsupportedError,
  add,
  cast,
  div,
  greater,
  less,
  maximum,
  min,
  mul,
  select,
  stopGradient,
  sum,
} from "@moiety/core";
import { floatOf } from "./dtype.ts";
import type { ExpertChoiceState } from "./expert-choice.ts";
import { refuseOption } from "./option.ts";

/** Options of {@link thresholdController}. */
export interface ThresholdControllerOptions {
  /** m: how much of the old threshold stays in a step; 0.99 unless given. */
  readonly momentum?: number | undefined;
}

/** Turns the choices of a training step into new thresholds, without a gradient. */
export interface ThresholdController {
  readonly momentum: number;
  /**
   * The state after a step, from the routings of all its micro-batches. Inputs stay as they are.
   * @throws ConfigError, UnsupportedError
   */
  update(state: ExpertChoiceState, routings: readonly Routing[]): ExpertChoiceState;
}

/**
 * Learns the thresholds by which `expertChoiceRouter` routes a token without looking at others:
 * θ_e ← m · θ_e + (1 − m) · mean over groups of the smallest score that found a place with expert e.
 * So in the long run as many tokens reach θ_e as expert e takes in training. Groups in which an
 * expert has no token do not count; an expert that has none in any keeps its threshold.
 * @throws ConfigError
 */
export function thresholdController(options: ThresholdControllerOptions = {}): ThresholdController {
  const { momentum = 0.99 } = options;
  if (!(momentum >= 0 && momentum < 1)) {
    throw refuseOption("momentum", momentum, "from 0 to below 1");
  }
  return {
    momentum,
    update(state, routings) {
      const { thresholds } = state;
      if (thresholds === undefined) {
        throw new ConfigError(
          'thresholdController: the router\'s state has no thresholds; give it mode: "threshold"',
          "state.thresholds",
          undefined,
        );
      }
      if (routings.length === 0) {
        throw new ConfigError("thresholdController needs a routing", "routings", routings);
      }
      const next = thresholds.backend.scope(() => {
        const parts = routings.map((routing) => smallestScores(requireExpertChoice(routing)));
        const total = parts.map(({ sums }) => sums).reduce((a, b) => add(a, b));
        const count = parts.map(({ counts }) => counts).reduce((a, b) => add(a, b));
        const smallest = cast(div(total, maximum(count, 1)), { dtype: thresholds.dtype });
        const moved = add(mul(thresholds, momentum), mul(smallest, 1 - momentum));
        return select(greater(count, 0), moved, thresholds);
      });
      return { ...state, thresholds: next };
    },
  };
}

/** Of each expert: the sum over groups of its smallest chosen score, and the number of groups. */
function smallestScores({ tokens, weights, logits }: ExpertChoice): {
  readonly sums: Tensor;
  readonly counts: Tensor;
} {
  const [groups = 0, experts = 0, places = 0] = tokens.shape;
  const still = stopGradient(weights);
  const filled = less(tokens, logits.shape[0] ?? 0);
  const dtype = floatOf(still);
  const taken = cast(filled, { dtype });
  const some = greater(sum(taken, [2]), 0);
  // Scores are at most 1, so an empty place is never the smallest.
  const least = places === 0 ? sum(still, [2]) : min(select(filled, still, 2), [2]);
  return {
    sums: sum(select(some, least, 0).reshape([groups, experts]), [0]),
    counts: sum(cast(some, { dtype }), [0]),
  };
}

function requireExpertChoice(routing: Routing): ExpertChoice {
  if (routing.kind === "expert-choice") return routing;
  throw new UnsupportedError(
    `thresholdController learns from choices of experts, not from a routing of kind ${routing.kind}; ` +
      "give it those of training",
    "expert-choice routing",
  );
}
