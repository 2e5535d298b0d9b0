import {
  type InitOptions,
  type RandomKey,
  type Tensor,
  add,
  constantParameter,
  matmul,
  normalParameter,
  squashLogits,
} from "@moiety/core";
import { type Gate, routerParameter } from "./gate.ts";
import { requireNotNegative, requirePositive } from "./option.ts";

/** Parameters of a linear gate. */
export interface LinearGateParams {
  /** `[E, H]`. */
  readonly weight: Tensor;
  /** `[E]`, with `bias`. */
  readonly bias?: Tensor | undefined;
}

/** Options of {@link linearGate}. */
export interface LinearGateOptions {
  /** Number of experts E. */
  readonly experts: number;
  /** Width H of the input. */
  readonly inputSize: number;
  /** Whether the logits have a bias that is learned. False unless given. */
  readonly bias?: boolean | undefined;
  /**
   * c: the logits themselves are c · tanh(l / c), so that losses see them limited too (Laguna); the
   * spec's softcap limits what the stages see alone. None unless given.
   */
  readonly softcap?: number | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** `logits = x · weightᵀ (+ bias)`: `[T, H]` → `[T, E]`. @throws ConfigError */
export function linearGate(options: LinearGateOptions): Gate<LinearGateParams> {
  const { experts, inputSize, bias, softcap, initializerRange = 0.02 } = options;
  requireNotNegative("initializerRange", initializerRange);
  if (softcap !== undefined) requirePositive("softcap", softcap);
  const shapes = { weight: [experts, inputSize], ...(bias && { bias: [experts] }) };
  return {
    experts,
    inputSize,
    shapes,
    init(key: RandomKey, options: InitOptions): LinearGateParams {
      const { weight, bias: offset } = shapes;
      return {
        weight:
          initializerRange === 0
            ? constantParameter(0, weight, options)
            : normalParameter(key, weight, initializerRange, options),
        ...(offset && { bias: constantParameter(0, offset, options) }),
      };
    },
    forward(params, x) {
      const weight = routerParameter(params, "weight", shapes.weight) as Tensor;
      const offset = routerParameter(params, "bias", shapes.bias);
      const product = matmul(x, weight, { transposeB: true });
      return { logits: squashLogits(offset ? add(product, offset) : product, { softcap }) };
    },
  };
}
