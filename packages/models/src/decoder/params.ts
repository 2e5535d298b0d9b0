import type { MoeParams, MoeState, Tensor } from "@moiety/core";
import type { FfnParams } from "@moiety/experts";

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

/** Leaves by name, as deep as a router or a bank has them; a list where there are several banks. */
export interface LeafTree {
  readonly [name: string]: Tensor | LeafTree | readonly LeafTree[] | undefined;
}

/** State of a router, whatever it keeps. */
export interface DecoderRouterState {
  /** `[E]`, of routers that select with a bias. */
  readonly selectionBias?: Tensor | undefined;
  readonly [name: string]: Tensor | LeafTree | readonly LeafTree[] | undefined;
}

/** Weights of a Mixture-of-Experts layer of a decoder, under the names of its router and its bank. */
export type DecoderMoeParams = MoeParams<LeafTree, LeafTree, LeafTree | undefined>;

/** State of a Mixture-of-Experts layer of a decoder: what its router keeps. */
export type DecoderMoeState = MoeState<DecoderRouterState>;

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
