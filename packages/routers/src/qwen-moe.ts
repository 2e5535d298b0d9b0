import type { RouteSpec } from "@moiety/core";
import { type LinearRouter, linearRouter } from "./linear-router.ts";

/** Options of {@link qwenMoeRouter}, by the names of Hugging Face's configuration. */
export interface QwenMoeOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** k. */
  readonly numExpertsPerTok: number;
  /** Whether the chosen weights are divided by their sum; false unless given. */
  readonly normTopkProb?: boolean | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * Qwen's and OLMoE's routing as data: softmax over all experts, the k best, and only with
 * `normTopkProb` divided by their sum.
 */
export function qwenMoeSpec({
  numExperts,
  numExpertsPerTok,
  normTopkProb = false,
}: Pick<QwenMoeOptions, "numExperts" | "numExpertsPerTok" | "normTopkProb">): RouteSpec {
  return {
    experts: numExperts,
    topK: numExpertsPerTok,
    score: "softmax",
    renormalize: normTopkProb ? {} : undefined,
  };
}

/**
 * The router of Qwen2-MoE, Qwen3-MoE and OLMoE: p = softmax(x · Wᵀ), weights p_e of the k best,
 * divided by their sum with `normTopkProb`. No token sees another.
 *
 * Papers: Yang et al., "Qwen3 Technical Report" (2025); Muennighoff et al., "OLMoE" (2024). Source:
 * transformers `modeling_qwen2_moe.py`, `modeling_qwen3_moe.py`, `modeling_olmoe.py`.
 * @throws ConfigError
 */
export function qwenMoeRouter(options: QwenMoeOptions): LinearRouter {
  return linearRouter({
    inputSize: options.hiddenSize,
    spec: qwenMoeSpec(options),
    initializerRange: options.initializerRange,
  });
}
