import {
  type LossValue,
  ShapeError,
  type Tensor,
  cast,
  customGradient,
  formatShape,
  full,
  isTensor,
  stopGradient,
} from "@moiety/core";
import { totalLoss } from "./total-loss.ts";
import { floatOf } from "./statistics.ts";

/**
 * Gives `x` unchanged, and in the backward pass adds the gradient of Σ `scale` · coefficient · value:
 * losses act on the parameters without changing the reported loss. The gradient does not depend on
 * what becomes of `x`, so that the main loss may be scaled or averaged as it likes; but `x` must reach
 * the loss. `scale` is the main loss's own factor (a gradient-accumulation or loss-scaling factor),
 * 1 unless given.
 *
 * Source: Megatron-LM `moe_utils.py`, `MoEAuxLossAutoScaler`; DeepSeek `AddAuxiliaryLoss`.
 * @throws ConfigError without losses, ShapeError where a value or `scale` is no scalar
 *
 * @example
 * const y = injectLosses(output, losses); // where the layer's own losses shall act
 */
export function injectLosses(
  x: Tensor,
  losses: readonly LossValue[],
  scale: number | Tensor = 1,
): Tensor {
  return injectGradient(x, totalLoss(losses), scale);
}

/** {@link injectLosses} of one scalar `loss`. @throws ShapeError */
export function injectGradient(x: Tensor, loss: Tensor, scale: number | Tensor = 1): Tensor {
  for (const tensor of isTensor(scale) ? [loss, scale] : [loss]) {
    if (tensor.size === 1) continue;
    throw new ShapeError(
      `injectGradient needs a scalar loss and scale, not ${formatShape(tensor.shape)}`,
      { op: "injectGradient", shapes: [tensor.shape] },
    );
  }
  const { backend, shape } = loss;
  const dtype = floatOf(loss);
  const [same] = customGradient((kept: Tensor, _loss: Tensor) => ({
    outputs: [kept] as const,
    saved: isTensor(scale) ? [stopGradient(scale)] : [],
    gradient: ([gradient], [factor]) => [
      gradient,
      factor
        ? cast(factor.reshape(shape), { dtype })
        : full(backend, shape, isTensor(scale) ? 1 : scale, dtype),
    ],
  }))(x, loss);
  return same;
}
