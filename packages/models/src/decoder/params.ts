import type { MoeParams, MoeState, Tensor } from "@moiety/core";
import type { FfnParams, SharedExpertParams } from "@moiety/experts";
import type { LinearRouterParams, LinearRouterState } from "@moiety/routers";

/** Weights of self-attention, `[out, in]`. D is the width of a head. */
export interface AttentionParams {
  /** `[heads · D, H]`. */
  readonly query: Tensor;
  /** `[key heads · D, H]`. */
  readonly key: Tensor;
  /** `[key heads · D, H]`. */
  readonly value: Tensor;
  /** `[H, heads · D]`. */
  readonly output: Tensor;
  readonly queryBias?: Tensor | undefined;
  readonly keyBias?: Tensor | undefined;
  readonly valueBias?: Tensor | undefined;
  readonly outputBias?: Tensor | undefined;
  /** `[D]`, or `[heads · D]` over the whole projection. */
  readonly queryNorm?: Tensor | undefined;
  /** `[D]`, or `[key heads · D]`. */
  readonly keyNorm?: Tensor | undefined;
}

/** Weights of a Mixture-of-Experts layer of a decoder. */
export type DecoderMoeParams = MoeParams<
  LinearRouterParams,
  FfnParams,
  SharedExpertParams | undefined
>;

/** State of a Mixture-of-Experts layer of a decoder: the selection bias, where there is one. */
export type DecoderMoeState = MoeState<LinearRouterState>;

/** Weights of one layer; either `dense` or `moe` is there. */
export interface BlockParams {
  /** `[H]`. */
  readonly attentionNorm: Tensor;
  readonly attention: AttentionParams;
  /** `[H]`. */
  readonly ffnNorm: Tensor;
  readonly dense?: FfnParams | undefined;
  readonly moe?: DecoderMoeParams | undefined;
}

/** State of one layer. */
export interface BlockState {
  readonly moe?: DecoderMoeState | undefined;
}

/** Weights of a decoder. */
export interface DecoderParams {
  /** `[V, H]`. */
  readonly embedding: Tensor;
  readonly layers: readonly BlockParams[];
  /** `[H]`. */
  readonly norm: Tensor;
  /** `[V, H]`; absent when the embedding serves. */
  readonly head?: Tensor | undefined;
}

/** State of a decoder: what controllers change between steps. */
export interface DecoderState {
  readonly layers: readonly BlockState[];
}
