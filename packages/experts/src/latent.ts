import {
  type InitOptions,
  type RandomKey,
  type Tensor,
  ShapeError,
  UnsupportedError,
  add,
  constantParameter,
  foldIn,
  formatShape,
  matmul,
  mixExperts,
  normalParameter,
} from "@moiety/core";
import type { ShapedBank } from "./bank.ts";
import { requireDeviation, requireSize } from "./options.ts";
import { type Wrapped, wrapBank } from "./wrap.ts";

/** Parameters of latent experts. L is the width of the bank inside, M that of its output. */
export interface LatentParams<Inner> extends Wrapped<Inner> {
  /** `[L, H]`. */
  readonly down: Tensor;
  /** `[O, M]`. */
  readonly up: Tensor;
  /** `[L]`, with `bias`. */
  readonly downBias?: Tensor | undefined;
  /** `[O]`, with `bias`. */
  readonly upBias?: Tensor | undefined;
}

/** Options of {@link latentExperts}. */
export interface LatentOptions {
  /** Width H of the layer's input. */
  readonly hiddenSize: number;
  /** Width O of the layer's output; H unless given. */
  readonly outputSize?: number | undefined;
  /** Whether both projections have a bias. False unless given. */
  readonly bias?: boolean | undefined;
  /** Standard deviation of the initial weights. 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * Experts in a narrower space: `U · Σⱼ wⱼ fₑⱼ(D·x)`. All experts share the projection down before
 * them and the one up after their outputs are combined; the router sees the full width (LatentMoE:
 * Megatron's `moe_latent_size`, transformers' `NemotronHMoE` with `fc1_latent_proj` and
 * `fc2_latent_proj`). Without biases the outputs of rows may as well be projected one by one, which
 * `forward` does; with them only token-choice routing has a place for the bias.
 * @throws ConfigError naming the option
 */
export function latentExperts<Inner>(
  bank: ShapedBank<Inner>,
  options: LatentOptions,
): ShapedBank<LatentParams<Inner>> {
  const { hiddenSize, outputSize = hiddenSize, bias = false, initializerRange = 0.02 } = options;
  requireSize("hiddenSize", hiddenSize);
  requireSize("outputSize", outputSize);
  requireDeviation(initializerRange);
  const { inputSize: width, outputSize: produced } = bank;
  const shapes = {
    down: [width, hiddenSize],
    up: [outputSize, produced],
    ...(bias && { downBias: [width], upBias: [outputSize] }),
  };
  const into = ({ down, downBias }: LatentParams<Inner>, x: Tensor): Tensor =>
    project(requireWidth(x, hiddenSize), down, downBias);
  return wrapBank<Inner, LatentParams<Inner>>(bank, {
    name: "latentExperts",
    inputSize: hiddenSize,
    outputSize,
    shapes,
    draw: (key: RandomKey, init: InitOptions) => ({
      down: normalParameter(foldIn(key, 0), shapes.down, initializerRange, init),
      up: normalParameter(foldIn(key, 1), shapes.up, initializerRange, init),
      ...(bias && {
        downBias: constantParameter(0, [width], init),
        upBias: constantParameter(0, [outputSize], init),
      }),
    }),
    forward(params, rows) {
      if (params.upBias) {
        throw new UnsupportedError(
          "latentExperts with a bias adds it once to a token's combined output, which only " +
            "token-choice routing has; use bias: false with routers of another kind",
          "token-choice routing",
        );
      }
      // Projecting the source keeps the rows lazy, and costs T rows instead of A.
      const latent = { ...rows, source: into(params, rows.source) };
      return project(bank.forward(params.bank, latent), params.up, undefined);
    },
    mix(params, x, routing) {
      const combined = mixExperts(bank, params.bank, into(params, x), routing);
      return project(combined, params.up, params.upBias);
    },
  });
}

function project(x: Tensor, weight: Tensor, bias: Tensor | undefined): Tensor {
  const y = matmul(x, weight, { transposeB: true });
  return bias ? add(y, bias) : y;
}

function requireWidth(x: Tensor, width: number): Tensor {
  if (x.shape.at(-1) === width) return x;
  throw new ShapeError(`x is ${formatShape(x.shape)}, but its last dimension must be ${width}`, {
    shapes: [x.shape],
  });
}
