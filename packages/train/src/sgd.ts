import { type Tensor, add, donate, mapTree, mul, sub, zerosLike } from "@moiety/core";
import { updateLeaves } from "./leaves.ts";
import {
  type Optimizer,
  type OptimizerState,
  isTrainable,
  requireDistinct,
  requireSetting,
} from "./optimizer.ts";

/** Settings of {@link sgd}. */
export interface SgdOptions {
  readonly learningRate: number;
  /** Decay of the running sum of gradients; 0, which keeps none, unless given. */
  readonly momentum?: number | undefined;
  /** Looks one step ahead along the momentum. False unless given. */
  readonly nesterov?: boolean | undefined;
  /** Times the parameters, added to the gradient (L2); 0 unless given. */
  readonly weightDecay?: number | undefined;
  /** Which leaves decay, by path; all unless given. */
  readonly decay?: ((path: string) => boolean) | undefined;
}

/**
 * Stochastic gradient descent as PyTorch computes it, without dampening:
 *
 *     g ← g + λ·p        b ← μ·b + g        p ← p − lr · (nesterov ? g + μ·b : b)
 *
 * @throws ConfigError for a setting outside its range
 */
export function sgd(options: SgdOptions): Optimizer {
  const { learningRate, momentum = 0, nesterov = false, weightDecay = 0 } = options;
  const { decay = () => true } = options;
  requireSetting("sgd", "learningRate", learningRate);
  requireSetting("sgd", "momentum", momentum);
  requireSetting("sgd", "weightDecay", weightDecay);
  const step = (
    parameter: Tensor,
    gradient: Tensor,
    buffer: Tensor | undefined,
    rate: number,
    decayed: number,
  ): readonly Tensor[] => {
    const direction = decayed === 0 ? gradient : add(gradient, mul(parameter, decayed));
    if (buffer === undefined) return [sub(donate(parameter), mul(direction, rate))];
    const next = add(mul(donate(buffer), momentum), direction);
    const move = nesterov ? add(direction, mul(next, momentum)) : next;
    return [sub(donate(parameter), mul(move, rate)), next];
  };
  return {
    name: "sgd",
    learningRate,
    init<Params>(params: Params): OptimizerState<Params> {
      requireDistinct(params);
      if (momentum === 0) return {};
      return {
        momentum: mapTree(params, (leaf): Tensor | null =>
          isTrainable(leaf) ? zerosLike(leaf) : null,
        ),
      };
    },
    update({ params, grads, state, learningRate: rate = learningRate }) {
      const trees = momentum === 0 ? [] : [state["momentum"]];
      const updated = updateLeaves(params, grads, trees, (leaf) => {
        const decayed = decay(leaf.path) ? weightDecay : 0;
        const [parameter = leaf.parameter, ...moments] = leaf.parameter.backend.scope(() =>
          step(leaf.parameter, leaf.gradient, leaf.moments[0], rate, decayed),
        );
        return { parameter, moments };
      });
      const next = momentum === 0 ? {} : { momentum: updated.moments[0] };
      return { params: updated.params, state: next as typeof state };
    },
  };
}
