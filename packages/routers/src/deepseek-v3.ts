import type { GroupLimit, RouteSpec } from "@moiety/core";
import { type LinearRouter, linearRouter } from "./linear-router.ts";

/** Options of {@link deepseekV3Router}, by the names of Hugging Face's configuration. */
export interface DeepseekV3Options {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly nRoutedExperts: number;
  /** k. */
  readonly numExpertsPerTok: number;
  /** Number of groups; 8 unless given. 1 means no limit by groups. */
  readonly nGroup?: number | undefined;
  /** Groups that a token may choose from; 4 (or all, if there are fewer) unless given. */
  readonly topkGroup?: number | undefined;
  /** Whether the chosen weights are divided by their sum (+ 1e-20); true unless given. */
  readonly normTopkProb?: boolean | undefined;
  /** Factor of the weights; 2.5 unless given. */
  readonly routedScalingFactor?: number | undefined;
  /**
   * What experts outside a token's groups get: `mask` cannot be chosen (transformers 5, and the
   * default); `zero` scores 0, which can beat a negative biased score (transformers 4.57).
   */
  readonly groupFill?: GroupLimit["fill"] | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * DeepSeek-V3 as data: sigmoid scores; the k best by score + bias, within the `topkGroup` groups
 * whose two best biased scores add up to most; weights are the scores without the bias.
 */
export function deepseekV3Spec({
  nRoutedExperts,
  numExpertsPerTok,
  nGroup = 8,
  topkGroup = Math.min(4, nGroup),
  normTopkProb = true,
  routedScalingFactor = 2.5,
  groupFill = "mask",
}: Omit<DeepseekV3Options, "hiddenSize" | "initializerRange">): RouteSpec {
  const single = nGroup === 1 && topkGroup === 1;
  const groups = { count: nGroup, topK: topkGroup, score: { top: 2 }, fill: groupFill } as const;
  return {
    experts: nRoutedExperts,
    topK: numExpertsPerTok,
    score: "sigmoid",
    bias: true,
    groups: single ? undefined : groups,
    renormalize: normTopkProb ? { epsilon: 1e-20 } : undefined,
    scale: routedScalingFactor,
  };
}

/**
 * DeepSeek-V3's router: s = σ(x · Wᵀ), choice by s + b within the best groups, weights
 * `routedScalingFactor` · s_e / (Σ s + 1e-20). The bias b is state, not a parameter: between steps
 * `biasController` of `@moiety/losses` changes it. No token sees another.
 *
 * Paper: DeepSeek-AI, "DeepSeek-V3 Technical Report" (2024). Source: transformers
 * `modeling_deepseek_v3.py`, `DeepseekV3TopkRouter`.
 * @throws ConfigError
 */
export function deepseekV3Router(options: DeepseekV3Options): LinearRouter {
  return linearRouter({
    inputSize: options.hiddenSize,
    spec: deepseekV3Spec(options),
    initializerRange: options.initializerRange,
  });
}
