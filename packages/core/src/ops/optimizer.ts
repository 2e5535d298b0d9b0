import { type Op, defineOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { add, div, mul, sqrt, square, sub } from "./arithmetic.ts";
import { FLOATS, requireFinite, requireOneDType, requireShape, requireWhole } from "./checks.ts";

/** Attributes of {@link adamW}. All are dynamic. */
export interface AdamWAttributes {
  readonly learningRate: number;
  /** Decay of the first moment. */
  readonly beta1: number;
  /** Decay of the second moment. */
  readonly beta2: number;
  /** Added to the root of the second moment. */
  readonly epsilon: number;
  /** Decoupled: multiplied by the learning rate. */
  readonly weightDecay: number;
  /** Number of this step, from 1. */
  readonly step: number;
}

/**
 * One step of AdamW (Loshchilov and Hutter, 2019; the order of torch.optim.AdamW) on four float
 * tensors of one shape and dtype:
 * `m = β₁·first + (1 − β₁)·g`, `v = β₂·second + (1 − β₂)·g²`,
 * `p = parameter·(1 − rate·decay) − rate/(1 − β₁ˢ) · m / (√v/√(1 − β₂ˢ) + ε)`.
 * Returns p, m, v. Donate parameter, first and second to have them written in place. No gradient.
 */
export const adamW: Op<
  [parameter: Tensor, gradient: Tensor, first: Tensor, second: Tensor],
  AdamWAttributes,
  [parameter: Tensor, first: Tensor, second: Tensor]
> = /*#__PURE__*/ defineOp({
  name: "adamW",
  inputs: ["parameter", "gradient", "first", "second"],
  outputs: ["parameter", "first", "second"],
  dynamic: ["learningRate", "beta1", "beta2", "epsilon", "weightDecay", "step"],
  infer([parameter, ...others], { step, ...rates }) {
    const inputs = [parameter, ...others];
    requireOneDType("adamW", inputs, FLOATS);
    for (const other of others) requireShape("adamW", "an input", other, parameter.shape, inputs);
    requireWhole("adamW", "step", step, 1);
    for (const [key, value] of Object.entries(rates)) requireFinite("adamW", key, value);
    return [parameter, parameter, parameter];
  },
  decompose([parameter, gradient, first, second], attributes) {
    const { learningRate, beta1, beta2, epsilon, weightDecay, step } = attributes;
    const m = add(mul(first, beta1), mul(gradient, 1 - beta1));
    const v = add(mul(second, beta2), mul(square(gradient), 1 - beta2));
    const root = add(div(sqrt(v), Math.sqrt(1 - beta2 ** step)), epsilon);
    const decayed = mul(parameter, 1 - learningRate * weightDecay);
    const change = mul(div(m, root), learningRate / (1 - beta1 ** step));
    return [sub(decayed, change), m, v];
  },
});
