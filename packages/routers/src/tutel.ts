import type { RouteSpec } from "@moiety/core";
import { type TutelCapacityOptions, tutelCapacity, tutelPlaces } from "./capacity-presets.ts";
import { capacityStage } from "./capacity-stage.ts";
import { type LinearRouter, linearRouter } from "./linear-router.ts";
import { perExpertNoise } from "./noise.ts";
import { requireNotNegative } from "./option.ts";

/** Options of {@link tutelRouter}. */
export interface TutelOptions extends Omit<TutelCapacityOptions, "topK" | "experts" | "tokens"> {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numGlobalExperts: number;
  /** k; 2 unless given. */
  readonly topK?: number | undefined;
  /** Standard deviation of the logits' noise in training, times E; 0 unless given. */
  readonly gateNoise?: number | undefined;
  /** Whether the weights are divided by their sum where k is above 1; true unless given. */
  readonly normalizeGate?: boolean | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * Tutel's routing as data, without its capacity, which depends on T: the k best softmax
 * probabilities, divided by their sum (the dtype's epsilon at least) where k is above 1.
 */
export function tutelSpec({
  numGlobalExperts: experts,
  topK = 2,
  normalizeGate = true,
}: Pick<TutelOptions, "numGlobalExperts" | "topK" | "normalizeGate">): RouteSpec {
  // The source takes as many as there are where k is more.
  const k = Math.min(topK, experts);
  const { renormalize } = tutelCapacity({ capacityFactor: 0, topK: k, experts, tokens: 0 });
  return { experts, topK: k, score: "softmax", ...(normalizeGate && { renormalize }) };
}

/**
 * Tutel's linear top-k router, with places for k · ⌊factor · ⌈T/E⌉⌋ tokens of the batch per expert (0:
 * dropless; below 0: the bound |factor|); all first choices come before all second ones, then by
 * position or, with batch priority, by the token's best score. With a capacity it looks across
 * tokens. Its cosine router is a gate of its own.
 *
 * Paper: Hwang et al., "Tutel: Adaptive Mixture-of-Experts at Scale" (2022). Source: Tutel
 * `impls/fast_dispatch.py`, `extract_critical`; `impls/moe_layer.py` for the noise of deviation
 * gateNoise/E.
 * @throws ConfigError
 */
export function tutelRouter(options: TutelOptions): LinearRouter {
  const { numGlobalExperts: experts, gateNoise = 0, capacityFactor = 1 } = options;
  requireNotNegative("gateNoise", gateNoise);
  const spec = tutelSpec(options);
  const { topK } = spec;
  const places = (tokens: number): number => tutelPlaces({ ...options, topK, experts, tokens });
  places(experts);
  const rule = {
    places,
    per: "batch",
    order: options.batchPrioritizedRouting ? "prioritized" : "choice",
    rankBy: "scores",
  } as const;
  return linearRouter({
    inputSize: options.hiddenSize,
    spec,
    noise: gateNoise > 0 ? perExpertNoise(gateNoise, experts) : undefined,
    initializerRange: options.initializerRange,
    ...(capacityFactor !== 0 && {
      stages: ({ context }) => ({ capacity: capacityStage(rule, experts, context) }),
      acrossTokens: true,
    }),
  });
}
