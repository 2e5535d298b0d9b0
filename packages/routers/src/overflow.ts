import {
  ConfigError,
  type RouteSpec,
  type RouteStages,
  ShapeError,
  type Tensor,
  applyCapacity,
  checkRouteSpec,
  equal,
  formatShape,
  sameShape,
  select,
  stopGradient,
  weighChoices,
} from "@moiety/core";
import { type LinearRouter, linearRouter } from "./linear-router.ts";
import { refuseOption, requireWhole } from "./option.ts";
import { reroute } from "./overflow-reroute.ts";
import type { ConstantState, StageCall } from "./staged-router.ts";

/** From which score on a token goes to its next best expert. */
export type OverflowThreshold =
  /** The same for all, fixed. */
  | number
  /** Learned between steps by `overflowController`: one for each expert, or one for all. */
  | { readonly learned: "expert" | "global"; readonly initial?: number | undefined };

/** Options of {@link overflowStages}. */
export interface OverflowOptions {
  /** 0 unless given, which every probability reaches. */
  readonly threshold?: OverflowThreshold | undefined;
  /**
   * How often what found no place may ask again; E unless given, after which whoever has none left
   * has met only full experts, or scores below the threshold.
   */
  readonly rounds?: number | undefined;
}

/** Name of the learned threshold among the router's state. */
const STATE = "overflowThreshold";

/**
 * Own stages that send overflow to the next best expert. First the spec's capacity gives places to
 * the choices of tokens; then, round by round, each choice that found none asks for the best expert
 * with room that its token has not chosen and does not hold, if the token's score there reaches the
 * threshold; the highest scores get in. A rerouted choice is weighted as if it had been chosen.
 * `selected` keeps what was chosen first. No expert takes more than its places in any group; padding
 * takes none. A token with NaN keeps the places it found at first, and its output is NaN; it asks for
 * no others, since NaN reaches no threshold, and without a place its output is 0.
 *
 * Papers: Fedus, Zoph & Shazeer, "Switch Transformers" (2021), appendix B, "No-Token-Left-Behind".
 * FastMoE's `swipe_gate.py` has the like without a threshold.
 * @throws ConfigError where the spec has no capacity
 */
export function overflowStages(
  spec: RouteSpec,
  options: OverflowOptions = {},
): (call: StageCall) => RouteStages {
  checkOverflow(spec, options);
  const { capacity, experts } = spec;
  const { threshold = 0, rounds = experts } = options;
  return ({ context, key, state }) => {
    // Weights come before capacity, but are those of what finds a place: both read this.
    let placed: Tensor | undefined;
    const own = typeof threshold === "number" ? threshold : thresholdOf(state, threshold, experts);
    return {
      weight(choice, attributes) {
        const still = { logits: stopGradient(choice.logits), scores: stopGradient(choice.scores) };
        const chosen = choice.indices;
        const weights = weighChoices({ ...still, indices: chosen }, attributes);
        const inner = { ...context, key };
        const kept = capacity && applyCapacity(capacity, chosen, weights, experts, inner);
        placed = reroute({
          scores: still.scores,
          chosen,
          kept: kept ?? chosen,
          capacity,
          threshold: own,
          rounds,
          context,
        });
        // What is dropped in the end still counts in a norm that is taken before capacity.
        const indices = select(equal(placed, experts), chosen, placed);
        return weighChoices({ ...choice, indices }, attributes);
      },
      capacity: ({ indices }) => placed ?? indices,
    };
  };
}

/** The state that {@link overflowStages} read, for the option `constants`. */
export function overflowState(
  experts: number,
  { threshold = 0 }: OverflowOptions,
): Readonly<Record<string, ConstantState>> {
  if (typeof threshold === "number") return {};
  const shape = threshold.learned === "expert" ? [experts] : [1];
  return { [STATE]: { shape, value: threshold.initial ?? 1 / experts } };
}

/** Options of {@link overflowRouter}. */
export interface OverflowRouterOptions extends OverflowOptions {
  /** H. */
  readonly hiddenSize: number;
  /** The stages, with the capacity whose overflow is sent on. */
  readonly spec: RouteSpec;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * A linear router of any spec with a capacity, whose overflow goes to the next best expert as
 * {@link overflowStages} have it. Looks across tokens.
 * @throws ConfigError
 */
export function overflowRouter(options: OverflowRouterOptions): LinearRouter {
  const { hiddenSize, spec, initializerRange } = options;
  return linearRouter({
    inputSize: hiddenSize,
    spec,
    initializerRange,
    stages: overflowStages(spec, options),
    constants: overflowState(spec.experts, options),
    acrossTokens: true,
  });
}

function thresholdOf(
  state: StageCall["state"],
  { learned }: Exclude<OverflowThreshold, number>,
  experts: number,
): Tensor {
  const shape = learned === "expert" ? [experts] : [1];
  const threshold = state[STATE];
  if (threshold === undefined) {
    throw new ConfigError(
      `the router's state has no ${STATE}; pass the state that init made`,
      `state.${STATE}`,
      undefined,
    );
  }
  if (sameShape(threshold.shape, shape)) return threshold;
  throw new ShapeError(
    `state.${STATE} is ${formatShape(threshold.shape)}, but must be ${formatShape(shape)}`,
    { shapes: [threshold.shape] },
  );
}

function checkOverflow(spec: RouteSpec, { threshold = 0, rounds = 1 }: OverflowOptions): void {
  checkRouteSpec(spec);
  if (spec.capacity === undefined) {
    throw refuseOption("spec.capacity", undefined, "given: without one nothing overflows");
  }
  const least = typeof threshold === "number" ? threshold : (threshold.initial ?? 0);
  if (!Number.isFinite(least)) throw refuseOption("threshold", least, "a finite number");
  if (typeof threshold !== "number" && !["expert", "global"].includes(threshold.learned)) {
    throw refuseOption("threshold.learned", threshold.learned, "expert or global");
  }
  requireWhole("rounds", rounds, 0);
}
