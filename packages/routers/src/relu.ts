import { type CapacitySpec, greater, isNaN as isNotNumber, or, relu } from "@moiety/core";
import { type AdaptiveRouter, adaptiveRouter } from "./adaptive.ts";
import { changeRouting } from "./change-routing.ts";
import { type LinearGateParams, linearGate } from "./linear-gate.ts";
import { refuseOption, requirePositive } from "./option.ts";

/** Options of {@link reluRouter}. */
export interface ReluOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** The most experts that run for a token; E unless given. */
  readonly maxActive?: number | undefined;
  /** λ at the start: the factor of the sparsity loss, kept in state; 1e-8 unless given. */
  readonly initialCoefficient?: number | undefined;
  /** Dropless unless given. */
  readonly capacity?: CapacitySpec | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * ReMoE: weights R = relu(x · Wᵀ); a token takes every expert whose weight is above 0, which may be
 * none. Nothing is discontinuous as long as fewer than `maxActive` are active. How many are is held
 * by `reluSparsity` and `reluController` of `@moiety/losses`: the factor λ stands in state and in
 * the routing's carry, as `sparsityCoefficient`. No token sees another.
 *
 * Paper: Wang, Chen & Zhu, "ReMoE: Fully Differentiable Mixture-of-Experts with ReLU Routing" (2024).
 * Source: ReMoE's Megatron-LM `router.py`, `ReLURouter`.
 * @throws ConfigError
 */
export function reluRouter(options: ReluOptions): AdaptiveRouter<LinearGateParams> {
  const { hiddenSize, numExperts, maxActive, initialCoefficient = 1e-8 } = options;
  const { capacity, initializerRange } = options;
  requirePositive("initialCoefficient", initialCoefficient);
  const router = adaptiveRouter({
    gate: linearGate({ experts: numExperts, inputSize: hiddenSize, initializerRange }),
    spec: { experts: numExperts, score: "identity", capacity },
    maxActive,
    // NaN counts as active, so that it shows in its token's output.
    active: (sorted) => or(greater(sorted, 0), isNotNumber(sorted)),
    stages: { score: relu },
    constants: { sparsityCoefficient: { shape: [], value: initialCoefficient } },
  });
  const carrying = changeRouting(router, (routing, { sparsityCoefficient }) => {
    if (sparsityCoefficient === undefined) {
      throw refuseOption("state.sparsityCoefficient", undefined, "what init made");
    }
    return { ...routing, carry: { ...routing.carry, sparsityCoefficient } };
  });
  return { ...carrying, maxActive: router.maxActive };
}
