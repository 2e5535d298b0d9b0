import type { RouteSpec } from "@moiety/core";
import { type LinearRouter, linearRouter } from "./linear-router.ts";
import { learnedNoise } from "./noise.ts";

/** Options of {@link noisyTopKRouter}. */
export interface NoisyTopKOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** k. */
  readonly numExpertsPerTok: number;
  /** Added to the noise's standard deviation; 1e-2 unless given. */
  readonly noiseEpsilon?: number | undefined;
  /**
   * Standard deviation of the initial weight. 0 unless given: the paper starts from zeros, so that
   * at first the noise alone chooses.
   */
  readonly initializerRange?: number | undefined;
}

/** The stages of noisy top-k gating as data: the k best logits, and a softmax over those alone. */
export function noisyTopKSpec({
  numExperts,
  numExpertsPerTok,
}: Pick<NoisyTopKOptions, "numExperts" | "numExpertsPerTok">): RouteSpec {
  return {
    experts: numExperts,
    topK: numExpertsPerTok,
    score: "softmax",
    selectBy: "logits",
    weight: "softmaxOfChosen",
  };
}

/**
 * Noisy top-k gating: h = x · Wᵀ + ε ⊙ (softplus(x · Wₙᵀ) + 1e-2) with standard normal ε in
 * training, h = x · Wᵀ otherwise; weights = softmax over the k largest h. Needs `context.key` (or
 * `context.noise`) in training. No token sees another.
 *
 * Paper: Shazeer et al., "Outrageously Large Neural Networks" (2017). Source: tensor2tensor
 * `expert_utils.py`, `noisy_top_k_gating`.
 * @throws ConfigError
 */
export function noisyTopKRouter(options: NoisyTopKOptions): LinearRouter {
  return linearRouter({
    inputSize: options.hiddenSize,
    spec: noisyTopKSpec(options),
    noise: learnedNoise(options.noiseEpsilon),
    initializerRange: options.initializerRange ?? 0,
  });
}
