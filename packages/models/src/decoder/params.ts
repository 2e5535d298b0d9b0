import type { Leaf, MoeParams, MoeState, Tensor } from "@moiety/core";
import type { HeldFfnParams } from "@moiety/experts";

/**
 * Weights of self-attention with grouped queries, `[out, in]`. D is the width of a head. Matrices may be
 * held in codes.
 */
export interface GroupedAttentionParams {
  /** `[heads · D, H]`. */
  readonly query: Leaf;
  /** `[key heads · D, H]`. */
  readonly key: Leaf;
  /** `[key heads · D, H]`. */
  readonly value: Leaf;
  /** `[H, heads · D]`. */
  readonly output: Leaf;
  readonly queryBias?: Tensor | undefined;
  readonly keyBias?: Tensor | undefined;
  readonly valueBias?: Tensor | undefined;
  readonly outputBias?: Tensor | undefined;
  /** `[D]`, or `[heads · D]` over the whole projection. */
  readonly queryNorm?: Tensor | undefined;
  /** `[D]`, or `[key heads · D]`. */
  readonly keyNorm?: Tensor | undefined;
  /** `[heads]`. */
  readonly sinks?: Tensor | undefined;
}

/**
 * Weights of multi-head latent attention, `[out, in]`. Dk is the width of a query or key, of which Dr
 * are rotated, Dv that of a value, R the width of a latent. Matrices may be held in codes.
 */
export interface LatentAttentionParams {
  /** `[heads · Dk, H]`, where queries have no latent. */
  readonly query?: Leaf | undefined;
  /** `[R, H]` to the queries' latent. */
  readonly queryA?: Leaf | undefined;
  readonly queryABias?: Tensor | undefined;
  /** `[R]`. */
  readonly queryANorm?: Tensor | undefined;
  /** `[heads · Dk, R]`. */
  readonly queryB?: Leaf | undefined;
  /** `[R + Dr, H]` to the latent of keys and values and the part of the key that all heads share. */
  readonly keyValueA: Leaf;
  readonly keyValueABias?: Tensor | undefined;
  /** `[R]`. */
  readonly keyValueANorm: Tensor;
  /** `[heads · (Dk − Dr + Dv), R]`. */
  readonly keyValueB: Leaf;
  /** `[H, heads · Dv]`. */
  readonly output: Leaf;
  readonly outputBias?: Tensor | undefined;
  /** `[heads]`. */
  readonly sinks?: Tensor | undefined;
}

/** Weights of self-attention of some kind. */
export type AttentionParams = GroupedAttentionParams | LatentAttentionParams;

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
  /** `[H]`, of LayerNorm. */
  readonly attentionNormBias?: Tensor | undefined;
  readonly attention: AttentionParams;
  /** `[H]`. */
  readonly ffnNorm: Tensor;
  /** `[H]`, of LayerNorm. */
  readonly ffnNormBias?: Tensor | undefined;
  readonly dense?: HeldFfnParams | undefined;
  readonly moe?: DecoderMoeParams | undefined;
}

/** State of one layer. */
export interface BlockState {
  readonly moe?: DecoderMoeState | undefined;
}

/** Weights of a decoder. Matrices may be held in codes, in the formats that its configuration names. */
export interface DecoderParams {
  /** `[V, H]`. */
  readonly embedding: Leaf;
  readonly layers: readonly BlockParams[];
  /** `[H]`. */
  readonly norm: Tensor;
  /** `[H]`, of LayerNorm. */
  readonly normBias?: Tensor | undefined;
  /** `[V, H]`; absent when the embedding serves. */
  readonly head?: Leaf | undefined;
  /** `[V]`. */
  readonly headBias?: Tensor | undefined;
}

/** State of a decoder: what controllers change between steps. */
export interface DecoderState {
  readonly layers: readonly BlockState[];
}
