import type { RoutingLoss } from "@moiety/core";
import { gshardBalance } from "./gshard-balance.ts";
import { importanceCv } from "./importance-cv.ts";
import { loadCv } from "./load-cv.ts";
import type { Target } from "./target.ts";

/** Options of {@link vmoeLosses}: weights of its parts, 0 leaves one out. */
export interface VmoeLossesOptions {
  /** `gshard_loss_weight`, 0 unless given. */
  readonly gshard?: number | undefined;
  /** `importance_loss_weight`, 1 unless given. */
  readonly importance?: number | undefined;
  /** `load_loss_weight`, 1 unless given. It needs noise; give 0 for a router without any. */
  readonly load?: number | undefined;
  /** The share of the load that each expert shall have; even unless given. */
  readonly target?: Target | undefined;
}

/**
 * The losses of V-MoE's router, whose weighted sum is its `auxiliary_loss`: GShard's on the noisy
 * scores, importance on the clean ones, and load. Each group (sequence) is taken for itself; the mean
 * over groups and layers. Shares of first choices are float32, as in the source.
 *
 * Paper: Riquelme et al., "Scaling Vision with Sparse Mixture of Experts" (2021), appendix A. Source:
 * vmoe `nn/routing.py`, `NoisyTopExpertsPerItemRouter`.
 * @throws ConfigError
 */
export function vmoeLosses(options: VmoeLossesOptions = {}): RoutingLoss[] {
  const { gshard = 0, importance = 1, load = 1, target } = options;
  const shared = { target, per: "sequence" } as const;
  return [
    gshardBalance({ ...shared, coefficient: gshard, shares: "float32" }),
    importanceCv({ ...shared, coefficient: importance, of: "cleanScores", epsilon: 0 }),
    loadCv({ ...shared, coefficient: load, threshold: "chosen", epsilon: 0 }),
  ].filter(({ coefficient }) => coefficient !== 0);
}
