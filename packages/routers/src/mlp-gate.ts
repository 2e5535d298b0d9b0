import {
  type Tensor,
  add,
  constantParameter,
  gelu,
  matmul,
  normalParameter,
  relu,
  silu,
  splitKey,
  tanh,
} from "@moiety/core";
import { type Gate, routerParameter } from "./gate.ts";
import { refuseOption, requirePositive } from "./option.ts";

/** One linear layer of an MLP gate. */
export interface MlpGateLayer {
  /** `[out, in]`. */
  readonly weight: Tensor;
  /** `[out]`, with `bias`; the last layer has none. */
  readonly bias?: Tensor | undefined;
}

/** Parameters of an MLP gate. */
export interface MlpGateParams {
  readonly layers: readonly MlpGateLayer[];
}

/** Options of {@link mlpGate}. */
export interface MlpGateOptions {
  /** E. */
  readonly experts: number;
  /** H. */
  readonly inputSize: number;
  /** Widths of the layers before the last; one of 8 · E unless given (MoE++). */
  readonly hiddenSizes?: readonly number[] | undefined;
  /** Between the layers; `tanh` unless given (MoE++). */
  readonly activation?: "tanh" | "relu" | "gelu" | "silu" | undefined;
  /** Whether the layers before the last have biases. False unless given. */
  readonly bias?: boolean | undefined;
  /** Standard deviation of the initial weights; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * `logits = W_n · act(… act(W_1 · x + b_1) …)`: a small network instead of one linear layer.
 *
 * Source: MoE++ `moe_plus_plus_layer.py`, `Router` with `moe_2layer_gate`.
 * @throws ConfigError
 */
export function mlpGate(options: MlpGateOptions): Gate<MlpGateParams> {
  const { experts, inputSize, hiddenSizes = [8 * experts], activation = "tanh" } = options;
  const { bias = false, initializerRange = 0.02 } = options;
  const act = ACTIVATIONS[activation];
  if (act === undefined) {
    throw refuseOption("activation", activation, Object.keys(ACTIVATIONS).join(", "));
  }
  const bad = hiddenSizes.find((size) => !Number.isSafeInteger(size) || size < 1);
  if (bad !== undefined) throw refuseOption("hiddenSizes", bad, "whole numbers from 1");
  requirePositive("initializerRange", initializerRange);
  const widths = [inputSize, ...hiddenSizes, experts];
  const layers = widths.slice(1).map((out, index) => ({
    weight: [out, widths[index] ?? 0],
    ...(bias && index < hiddenSizes.length && { bias: [out] }),
  }));
  return {
    experts,
    inputSize,
    shapes: { layers },
    init(key, init) {
      const keys = splitKey(key, layers.length);
      return {
        layers: layers.map((shapes, index) => ({
          weight: normalParameter(keys[index] ?? key, shapes.weight, initializerRange, init),
          ...(shapes.bias && { bias: constantParameter(0, shapes.bias, init) }),
        })),
      };
    },
    forward(params, x) {
      if (params.layers?.length !== layers.length) {
        throw refuseOption("params.layers.length", params.layers?.length, `${layers.length}`);
      }
      return {
        logits: layers.reduce((value, shapes, index) => {
          const layer = params.layers[index] as MlpGateLayer;
          const weight = routerParameter(layer, "weight", shapes.weight) as Tensor;
          const offset = routerParameter(layer, "bias", shapes.bias);
          const product = matmul(value, weight, { transposeB: true });
          const sum = offset ? add(product, offset) : product;
          return index === layers.length - 1 ? sum : act(sum);
        }, x),
      };
    },
  };
}

const ACTIVATIONS: Readonly<Record<string, ((x: Tensor) => Tensor) | undefined>> = {
  tanh,
  relu,
  gelu,
  silu,
};
