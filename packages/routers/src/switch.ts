import type { RouteSpec } from "@moiety/core";
import { type LinearRouter, linearRouter } from "./linear-router.ts";

/** Options of {@link switchRouter}, by the names of Hugging Face's configuration. */
export interface SwitchOptions {
  /** H (`d_model`). */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** Tokens that an expert takes from each sequence; 64 unless given. */
  readonly expertCapacity?: number | undefined;
  /** Whether the logits have a bias; false unless given. */
  readonly routerBias?: boolean | undefined;
  /** ε of the jitter in training; 0.01 unless given, 0 switches it off. */
  readonly routerJitterNoise?: number | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * Switch Transformer as data: one expert for each token, weighted by its softmax probability. Each
 * expert takes the first `expertCapacity` tokens of a sequence; those behind get index `E` and
 * weight 0.
 */
export function switchSpec({
  numExperts,
  expertCapacity = 64,
}: Pick<SwitchOptions, "numExperts" | "expertCapacity">): RouteSpec {
  return {
    experts: numExperts,
    topK: 1,
    score: "softmax",
    capacity: { size: { absolute: expertCapacity }, per: "sequence", order: "position" },
  };
}

/**
 * Switch Transformer's router: p = softmax(x · Wᵀ), e = argmax p, y = p_e · f_e(x). Jitter needs
 * `context.key` in training. Looks across tokens: a token's place depends on those before it in its
 * sequence, on none behind it.
 *
 * Paper: Fedus, Zoph & Shazeer, "Switch Transformers" (2021). Source: transformers
 * `modeling_switch_transformers.py`, `SwitchTransformersTop1Router`. There the jitter of a float32
 * model also reaches the experts, because it is written into their input; here it does not.
 * @throws ConfigError
 */
export function switchRouter(options: SwitchOptions): LinearRouter {
  return linearRouter({
    inputSize: options.hiddenSize,
    spec: switchSpec(options),
    linearBias: options.routerBias,
    jitter: options.routerJitterNoise ?? 0.01,
    initializerRange: options.initializerRange,
  });
}
