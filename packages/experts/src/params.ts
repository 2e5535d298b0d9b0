import type { QuantizedTensor, Tensor } from "@moiety/core";

/** Weights of plain feed-forward experts, `[E, out, in]`. Those of one dense network lack the axis E. */
export interface MlpParams {
  /** `[E, I, H]`. */
  readonly up: Tensor;
  /** `[E, O, I]`. */
  readonly down: Tensor;
  /** `[E, I]`. */
  readonly upBias?: Tensor | undefined;
  /** `[E, O]`. */
  readonly downBias?: Tensor | undefined;
}

/** Weights of gated experts, `[E, out, in]`. Those of one dense network lack the axis E. */
export interface GluParams {
  /** `[E, 2I, H]`: gate and up projection in one, packed as the layout says. */
  readonly gateUp: Tensor;
  /** `[E, O, I]`. */
  readonly down: Tensor;
  /** `[E, 2I]`, packed like `gateUp`. */
  readonly gateUpBias?: Tensor | undefined;
  /** `[E, O]`. */
  readonly downBias?: Tensor | undefined;
}

/** Weights of a feed-forward network of either kind. */
export type FfnParams = MlpParams | GluParams;

/** Weights of a network with its matrices in a format; biases stay as they are. */
export type QuantizedParams<Params extends FfnParams> = {
  readonly [Name in keyof Params]: Name extends "gateUp" | "up" | "down"
    ? QuantizedTensor
    : Params[Name];
};

/** Weights of a feed-forward network whose matrices are held in floats, or all in codes. */
export type HeldFfnParams = FfnParams | QuantizedParams<FfnParams>;
