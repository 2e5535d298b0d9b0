import {
  type CapacitySpec,
  ConfigError,
  type RouteSpec,
  type RouteStages,
  type Selection,
  type Tensor,
  div,
  renormalize,
  takeAlong,
} from "@moiety/core";
import { stageDraws } from "./draws.ts";
import { type LinearRouter, linearRouter } from "./linear-router.ts";
import {
  type SecondExpertPolicy,
  checkPolicy,
  chooseTwo,
  keepByChance,
  weighCandidates,
} from "./second-expert.ts";
import type { StageCall } from "./staged-router.ts";

/** Options of {@link gshardRouter}. */
export interface GshardOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E, at least 2. */
  readonly numExperts: number;
  /** How the second expert is found in training; `random` unless given. */
  readonly secondExpertPolicy?: SecondExpertPolicy | undefined;
  /** The same outside training; `all` unless given, so that evaluation needs no key. */
  readonly secondExpertPolicyEval?: SecondExpertPolicy | undefined;
  /**
   * Of the policy `random`: the second expert is kept with probability min(1, g₂ / threshold). 0.5
   * unless given, which is the paper's min(1, 2 · g₂); Mesh TensorFlow and ST-MoE took 0.2.
   */
  readonly threshold?: number | undefined;
  /** Factor of the even share 2 · T / E; 1 unless given. */
  readonly capacityFactor?: number | undefined;
  /**
   * The groups in which places are counted: each `sequence` (the default) or the whole `batch`.
   */
  readonly capacityPer?: CapacitySpec["per"] | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** GShard's stages as data, the second expert's chance left out. */
export function gshardSpec({
  numExperts,
  capacityFactor = 1,
  capacityPer = "sequence",
}: Pick<GshardOptions, "numExperts" | "capacityFactor" | "capacityPer">): RouteSpec {
  return {
    experts: numExperts,
    topK: 2,
    score: "softmax",
    renormalize: {},
    capacity: { size: { factor: capacityFactor }, per: capacityPer, order: "choice" },
  };
}

/**
 * GShard's top-2 router: p = softmax(x · Wᵀ), weights g_j = p_j / (p₁ + p₂) of the two best. The
 * second expert is kept by chance, with probability min(1, 2 · g₂); first choices take the places of
 * an expert before all second choices do, in order of position. Weights of what was dropped are 0,
 * the others stay as they are.
 *
 * Policy `random` needs `context.key`, or evenly drawn `context.noise [T, 2]` (its second column
 * decides); `sampling` a key or standard Gumbel `context.noise [T, E]`. Looks across tokens: places.
 *
 * Paper: Lepikhin et al., "GShard" (2021), algorithm 1. Sources: Mesh TensorFlow `moe.py`,
 * `_top_2_gating` (threshold); fairseq `top2gate.py` (policies).
 * @throws ConfigError
 */
export function gshardRouter(options: GshardOptions): LinearRouter {
  const {
    hiddenSize,
    secondExpertPolicy = "random",
    secondExpertPolicyEval = "all",
    threshold = 0.5,
    initializerRange,
  } = options;
  checkPolicy(secondExpertPolicy);
  checkPolicy(secondExpertPolicyEval);
  if (!(threshold > 0 && Number.isFinite(threshold))) {
    throw new ConfigError(
      `router: threshold is ${String(threshold)}, but must be a finite number above 0`,
      "threshold",
      threshold,
    );
  }
  return linearRouter({
    inputSize: hiddenSize,
    spec: gshardSpec(options),
    stages: (call) =>
      gshardStages(call, call.training ? secondExpertPolicy : secondExpertPolicyEval, threshold),
    initializerRange,
  });
}

/** The select and weight stages of a policy. */
function gshardStages(call: StageCall, policy: SecondExpertPolicy, threshold: number): RouteStages {
  switch (policy) {
    case "all":
      return {};
    case "sampling":
      return {
        select: (selection) =>
          chooseTwo(
            selection,
            stageDraws(call, "gumbel", selection.logits.shape, selection.logits),
          ),
      };
    case "random":
      return {
        select: (selection) => chooseByChance(call, selection, threshold),
        weight: weighCandidates,
      };
  }
}

function chooseByChance(call: StageCall, selection: Selection, threshold: number): Tensor {
  const { scores } = selection;
  const two = chooseTwo(selection);
  const weights = renormalize(takeAlong(scores, two, { axis: 1 }), {});
  const draws = stageDraws(call, "uniform", two.shape, scores);
  return keepByChance(two, div(weights, threshold), draws, scores.shape[1] ?? 0);
}
