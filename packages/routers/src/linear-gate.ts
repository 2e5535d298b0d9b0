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
import { type Gate, refuseOption, routerParameter } from "./gate.ts";

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
  const { experts, inputSize, bias = false, softcap, initializerRange = 0.02 } = options;
  if (!(initializerRange >= 0 && Number.isFinite(initializerRange))) {
    throw refuseOption("initializerRange", initializerRange, "a finite number from 0");
  }
  if (softcap !== undefined && !(softcap > 0 && Number.isFinite(softcap))) {
    throw refuseOption("softcap", softcap, "a finite number above 0");
  }
  const shapes = { weight: [experts, inputSize], ...(bias && { bias: [experts] }) };
  return {
    experts,
    inputSize,
    shapes,
    init(key: RandomKey, options: InitOptions): LinearGateParams {
      const { weight } = shapes;
      return {
        weight:
          initializerRange === 0
            ? constantParameter(0, weight, options)
            : normalParameter(key, weight, initializerRange, options),
        ...(bias && { bias: constantParameter(0, [experts], options) }),
      };
    },
    forward(params, x) {
      const weight = routerParameter(params, "weight", shapes.weight) as Tensor;
      const offset = routerParameter(params, "bias", bias ? [experts] : undefined);
      const product = matmul(x, weight, { transposeB: true });
      return { logits: squashLogits(offset ? add(product, offset) : product, { softcap }) };
    },
  };
}
