import { type CapacitySpec, type Tensor, cumsum, less, ones } from "@moiety/core";
import { type AdaptiveRouter, adaptiveRouter } from "./adaptive.ts";
import { type LinearGateParams, linearGate } from "./linear-gate.ts";
import { refuseOption } from "./option.ts";

/** Options of {@link topPRouter}. */
export interface TopPOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** The probability p that the experts of a token reach together, above 0 and at most 1. */
  readonly topP: number;
  /** The most experts that run for a token; E unless given. */
  readonly maxActive?: number | undefined;
  /** Whether the weights are divided by their sum, before any is dropped; false unless given. */
  readonly normTopkProb?: boolean | undefined;
  /** Dropless unless given. */
  readonly capacity?: CapacitySpec | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * Top-p routing: P = softmax(x · Wᵀ); a token takes the fewest experts whose probabilities add up
 * to p or more, the likeliest first; weights P_e. One expert at least; all of them at p = 1. Beyond
 * `maxActive` the least likely are dropped. No token sees another.
 *
 * Paper: Huang et al., "Harder Tasks Need More Experts: Dynamic Routing in MoE Models" (2024).
 * @throws ConfigError
 */
export function topPRouter(options: TopPOptions): AdaptiveRouter<LinearGateParams> {
  const { hiddenSize, numExperts, topP, maxActive, normTopkProb = false } = options;
  const { capacity, initializerRange } = options;
  if (!(topP > 0 && topP <= 1)) throw refuseOption("topP", topP, "above 0 and at most 1");
  return adaptiveRouter({
    gate: linearGate({ experts: numExperts, inputSize: hiddenSize, initializerRange }),
    spec: {
      experts: numExperts,
      score: "softmax",
      renormalize: normTopkProb ? {} : undefined,
      capacity,
    },
    maxActive,
    active: (sorted) => reaching(sorted, topP),
  });
}

/** An expert is needed as long as those before it do not reach p. */
function reaching(sorted: Tensor, topP: number): Tensor {
  // Rounding may reach 1 before the last expert.
  if (topP === 1) return ones(sorted.backend, sorted.shape, "bool");
  return less(cumsum(sorted, { axis: 1, exclusive: true }), topP);
}
