import type { RouteSpec } from "@moiety/core";
import { megatronCapacity } from "./capacity-presets.ts";
import { type LinearRouter, linearRouter } from "./linear-router.ts";
import { refuseOption } from "./option.ts";

/** Options of {@link megatronRouter}, by the names of Megatron-LM's configuration. */
export interface MegatronOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numMoeExperts: number;
  /** k; 2 unless given. */
  readonly moeRouterTopk?: number | undefined;
  /** `softmax` unless given. */
  readonly moeRouterScoreFunction?: "softmax" | "sigmoid" | "sqrtsoftplus" | undefined;
  /**
   * Of `softmax`: over all experts, before the choice. False unless given: a softmax over the chosen,
   * whose weight is always 1 when k is 1.
   */
  readonly moeRouterPreSoftmax?: boolean | undefined;
  /** Number of groups; no limit by groups unless given. */
  readonly moeRouterNumGroups?: number | undefined;
  /** Groups that a token may choose from. A group's score is the sum of its ⌊k/this⌋ best. */
  readonly moeRouterGroupTopk?: number | undefined;
  /** Factor of the weights; 1 unless given. */
  readonly moeRouterTopkScalingFactor?: number | undefined;
  /** Whether a bias, which is state, is added for selection only; not with `softmax`. */
  readonly moeRouterEnableExpertBias?: boolean | undefined;
  /** Of T·k/E; dropless unless given. */
  readonly moeExpertCapacityFactor?: number | undefined;
  /** `probs` unless given. */
  readonly moeTokenDropPolicy?: "probs" | "position" | undefined;
  /** ε of the jitter of the router's input in training; 0 unless given. */
  readonly moeInputJitterEps?: number | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * Megatron-LM's top-k routing as data. Sigmoid and sqrt-softplus weights are divided by their sum
 * + 1e-20, but only where k is above 1.
 * @throws ConfigError
 */
export function megatronSpec(options: Omit<MegatronOptions, "hiddenSize">): RouteSpec {
  const { moeRouterScoreFunction: score = "softmax", moeRouterTopk: k = 2 } = options;
  const { moeRouterEnableExpertBias: bias = false, moeExpertCapacityFactor: factor } = options;
  const { moeRouterTopkScalingFactor: scale } = options;
  if (bias && score === "softmax") {
    throw refuseOption("moeRouterEnableExpertBias", bias, "false with softmax scores");
  }
  return {
    experts: options.numMoeExperts,
    topK: k,
    ...scoring(score, options.moeRouterPreSoftmax ?? false),
    bias,
    groups: groupsOf(options, k),
    // The source asks whether there is a factor, and 0 is none.
    scale: scale || undefined,
    ...(factor !== undefined &&
      megatronCapacity({ capacityFactor: factor, dropPolicy: options.moeTokenDropPolicy })),
  };
}

/**
 * Megatron-LM's top-k router: softmax before or after the choice, sigmoid or sqrt-softplus scores,
 * groups, a selection bias and dropping, as {@link megatronSpec} has them. Its Sinkhorn routing is
 * `sinkhornRouter`. With a capacity it looks across tokens.
 *
 * Source: Megatron-LM `moe_utils.py`, `topk_routing_with_score_function`, `group_limited_topk`.
 * @throws ConfigError
 */
export function megatronRouter(options: MegatronOptions): LinearRouter {
  return linearRouter({
    inputSize: options.hiddenSize,
    spec: megatronSpec(options),
    jitter: options.moeInputJitterEps,
    initializerRange: options.initializerRange,
  });
}

type Scoring = Pick<RouteSpec, "score" | "selectBy" | "weight" | "renormalize">;

function scoring(score: string, preSoftmax: boolean): Scoring {
  const renormalize = { epsilon: 1e-20, skipSingle: true };
  switch (score) {
    case "softmax":
      return preSoftmax
        ? { score: "softmax" }
        : { score: "softmax", selectBy: "logits", weight: "softmaxOfChosen" };
    case "sigmoid":
      return { score: "sigmoid", renormalize };
    case "sqrtsoftplus":
      return { score: "sqrtSoftplus", renormalize };
    default:
      throw refuseOption("moeRouterScoreFunction", score, "softmax, sigmoid or sqrtsoftplus");
  }
}

function groupsOf(
  { moeRouterNumGroups: count, moeRouterGroupTopk: kept }: Omit<MegatronOptions, "hiddenSize">,
  k: number,
): RouteSpec["groups"] {
  if (!kept) return undefined;
  if (count === undefined) {
    throw refuseOption("moeRouterNumGroups", count, "given with moeRouterGroupTopk");
  }
  if (k < kept) throw refuseOption("moeRouterGroupTopk", kept, `at most ${k}, the topk`);
  return { count, topK: kept, score: { top: Math.floor(k / kept) }, fill: "mask" };
}
