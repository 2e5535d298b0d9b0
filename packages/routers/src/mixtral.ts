import type { RouteSpec } from "@moiety/core";
import { type LinearRouter, linearRouter } from "./linear-router.ts";

/** Options of {@link mixtralRouter}, by the names of Hugging Face's configuration. */
export interface MixtralOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numLocalExperts: number;
  /** k. */
  readonly numExpertsPerTok: number;
  /** ε of the jitter in training; 0 unless given. */
  readonly routerJitterNoise?: number | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * Mixtral as data: softmax over all experts, the k best, divided by their sum (which equals a
 * softmax over the k chosen logits).
 */
export function mixtralSpec({
  numLocalExperts,
  numExpertsPerTok,
}: Pick<MixtralOptions, "numLocalExperts" | "numExpertsPerTok">): RouteSpec {
  return { experts: numLocalExperts, topK: numExpertsPerTok, score: "softmax", renormalize: {} };
}

/**
 * Mixtral's router: p = softmax(x · Wᵀ), weights p_e / Σ p over the k best. No token sees another.
 *
 * Paper: Jiang et al., "Mixtral of Experts" (2024). Source: transformers `modeling_mixtral.py`,
 * `MixtralSparseMoeBlock`. There the jitter reaches the experts too; here only the router.
 * @throws ConfigError
 */
export function mixtralRouter(options: MixtralOptions): LinearRouter {
  return linearRouter({
    inputSize: options.hiddenSize,
    spec: mixtralSpec(options),
    jitter: options.routerJitterNoise,
    initializerRange: options.initializerRange,
  });
}
