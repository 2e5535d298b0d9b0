import { type Tensor, adamW as adamWOp, donate, mapTree, zerosLike } from "@moiety/core";
import { updateLeaves } from "./leaves.ts";
import {
  type Optimizer,
  type OptimizerState,
  isTrainable,
  requireDistinct,
  requireSetting,
} from "./optimizer.ts";

/** Settings of {@link adamW}. */
export interface AdamWOptions {
  readonly learningRate: number;
  /** Decay of the two moments; 0.9 and 0.999 unless given. */
  readonly betas?: readonly [first: number, second: number] | undefined;
  /** Added to the root of the second moment; 1e-8 unless given. */
  readonly epsilon?: number | undefined;
  /** Times the learning rate, taken off the parameters themselves; 0.01 unless given. */
  readonly weightDecay?: number | undefined;
  /** Which leaves decay, by path; all unless given. */
  readonly decay?: ((path: string) => boolean) | undefined;
}

/**
 * AdamW (Loshchilov and Hutter, arXiv 1711.05101) as PyTorch computes it, ε outside the root:
 *
 *     p ← p · (1 − lr·λ)
 *     m ← β₁·m + (1 − β₁)·g        v ← β₂·v + (1 − β₂)·g²
 *     p ← p − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
 *
 * One fused op for each leaf, which writes parameters and moments into their own buffers.
 *
 * @throws ConfigError for a setting outside its range
 */
export function adamW(options: AdamWOptions): Optimizer {
  const { learningRate, betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.01 } = options;
  const [beta1, beta2] = betas;
  const { decay = () => true } = options;
  requireSetting("adamW", "learningRate", learningRate);
  requireSetting("adamW", "betas[0]", beta1, 1);
  requireSetting("adamW", "betas[1]", beta2, 1);
  requireSetting("adamW", "epsilon", epsilon);
  requireSetting("adamW", "weightDecay", weightDecay);
  return {
    name: "adamW",
    learningRate,
    init<Params>(params: Params): OptimizerState<Params> {
      requireDistinct(params);
      const zeros = () =>
        mapTree(params, (leaf): Tensor | null => (isTrainable(leaf) ? zerosLike(leaf) : null));
      return { first: zeros(), second: zeros() };
    },
    update({ params, grads, state, learningRate: rate = learningRate, step }) {
      const { first, second } = state;
      const updated = updateLeaves(params, grads, [first, second], (leaf) => {
        const [m, v] = leaf.moments as readonly [Tensor, Tensor];
        const [parameter, ...moments] = adamWOp(
          donate(leaf.parameter),
          leaf.gradient,
          donate(m),
          donate(v),
          {
            learningRate: rate,
            beta1,
            beta2,
            epsilon,
            weightDecay: decay(leaf.path) ? weightDecay : 0,
            step,
          },
        );
        return { parameter, moments };
      });
      const [m = first, v = second] = updated.moments;
      return { params: updated.params, state: { first: m, second: v } as typeof state };
    },
  };
}
