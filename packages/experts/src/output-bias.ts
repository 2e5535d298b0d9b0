import { UnsupportedError, add, constantParameter, mixExperts, type Tensor } from "@moiety/core";
import type { ShapedBank } from "./bank.ts";
import { type Wrapped, wrapBank } from "./wrap.ts";

/** Parameters of a bank with one bias on its combined output. */
export interface OutputBiasParams<Inner> extends Wrapped<Inner> {
  /** `[O]`. */
  readonly bias: Tensor;
}

/**
 * Experts with one learned bias, added to every token once, after its experts' outputs are combined:
 * `Σⱼ wⱼ fₑⱼ(x) + b` (JetMoE). A token without a place gets the bias alone. Needs token-choice
 * routing.
 */
export function withOutputBias<Inner>(
  bank: ShapedBank<Inner>,
): ShapedBank<OutputBiasParams<Inner>> {
  const shape = [bank.outputSize];
  return wrapBank<Inner, OutputBiasParams<Inner>>(bank, {
    name: "withOutputBias",
    shapes: { bias: shape },
    draw: (_key, init) => ({ bias: constantParameter(0, shape, init) }),
    forward() {
      throw new UnsupportedError(
        "withOutputBias adds its bias once to a token's combined output, which only token-choice " +
          "routing has; give the experts biases of their own instead",
        "token-choice routing",
      );
    },
    mix: (params, x, routing) => add(mixExperts(bank, params.bank, x, routing), params.bias),
  });
}
