import type { RouteSpec } from "@moiety/core";
import { type VmoeCapacityOptions, vmoeCapacity } from "./capacity-presets.ts";
import { type CapacityRule, capacityStage } from "./capacity-stage.ts";
import { type LinearRouter, linearRouter } from "./linear-router.ts";
import { perExpertNoise } from "./noise.ts";
import { refuseOption, requireNotNegative } from "./option.ts";

/** Options of {@link vmoeRouter}. */
export interface VmoeOptions extends VmoeCapacityOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** k; 1 unless given. */
  readonly numSelectedExperts?: number | undefined;
  /** Standard deviation of the logits' noise in training, times E; 1 unless given, 0 for none. */
  readonly noiseStd?: number | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** V-MoE as data: the k best softmax probabilities, not renormalised, under its capacity. */
export function vmoeSpec(
  options: Omit<VmoeOptions, "hiddenSize" | "noiseStd" | "initializerRange">,
): RouteSpec {
  return {
    experts: options.numExperts,
    topK: options.numSelectedExperts ?? 1,
    score: "softmax",
    ...vmoeCapacity(options),
  };
}

/**
 * V-MoE's router: p = softmax(x · Wᵀ + ε) with ε normal of deviation noiseStd/E in training, the k
 * best experts of each token, weights p. Each group (sequence) has places for itself. Looks across
 * tokens.
 *
 * Paper: Riquelme et al., "Scaling Vision with Sparse Mixture of Experts" (2021). Source: vmoe
 * `nn/routing.py`, `NoisyTopExpertsPerItemRouter`. Its losses: `gshardBalance`, `importanceCv` and
 * `loadCv` of `@moiety/losses`, for each sequence.
 * @throws ConfigError
 */
export function vmoeRouter(options: VmoeOptions): LinearRouter {
  const { numExperts, noiseStd = 1 } = options;
  requireNotNegative("noiseStd", noiseStd);
  const spec = vmoeSpec(options);
  const rule = roundingRule(options, spec);
  return linearRouter({
    inputSize: options.hiddenSize,
    spec,
    noise: noiseStd > 0 ? perExpertNoise(noiseStd, numExperts) : undefined,
    initializerRange: options.initializerRange,
    stages: rule && (({ context }) => ({ capacity: capacityStage(rule, numExperts, context) })),
  });
}

/** With `round`, halves go to even, as Python rounds them; a spec takes them up. */
function roundingRule(
  { ceilOrRound, capacityFactor, multipleOf = 4 }: VmoeOptions,
  { experts, topK, capacity }: RouteSpec,
): CapacityRule | undefined {
  if (ceilOrRound !== "round" || capacity === undefined) return undefined;
  return {
    ...capacity,
    places: (tokens) => {
      const exact = (tokens * topK * capacityFactor) / experts;
      const places = Math.ceil(roundHalfEven(exact) / multipleOf) * multipleOf;
      if (places > 0 || tokens === 0) return places;
      const least = experts / (2 * tokens * topK);
      throw refuseOption("capacityFactor", capacityFactor, `above ${least} for ${tokens} tokens`);
    },
  };
}

function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest === 0.5) return below % 2 === 0 ? below : below + 1;
  return Math.round(value);
}
