import type { RotaryTable, Tensor } from "@moiety/core";
import type { LinearExpertsParams } from "./linear.ts";

/** Weights of attention experts. G counts key heads, D is the width of a head. */
export interface AttentionExpertsParams {
  /** `[E, G·D, H]`: each expert's query projection. */
  readonly query: LinearExpertsParams;
  /** `[2·G·D, H]`: keys, then values, shared by all experts. */
  readonly keyValue: Tensor;
  /** `[E, H, G·D]`: each expert's output projection. */
  readonly output: LinearExpertsParams;
  /** `[H]`, with `outputBias`: added once, after the outputs are combined. */
  readonly bias?: Tensor | undefined;
}

/** Options of {@link attentionExperts}. Keys are those of JetMoE's configuration. */
export interface AttentionExpertsOptions {
  /** Number of experts E. */
  readonly experts: number;
  /** Width H of the layer. */
  readonly hiddenSize: number;
  /** Key heads G: each chosen expert brings as many query heads. */
  readonly numKeyValueHeads: number;
  /** Width D of a head (JetMoE: `kv_channels`). */
  readonly headDim: number;
  /** Base of the rotary frequencies. Without it positions are not told apart. */
  readonly ropeTheta?: number | undefined;
  /** Whether a token sees no later one. True unless given. */
  readonly causal?: boolean | undefined;
  /** Whether the layer has one bias after combining (JetMoE). False unless given. */
  readonly outputBias?: boolean | undefined;
  /** Standard deviation of the initial weights. 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** Keys and values of the tokens so far, `[B, capacity, G, D]` both. */
export interface KeyValues {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** What attention experts may be told of a call. */
export interface AttentionExpertsContext {
  /** Tables of the tokens' positions; made for positions from `position` on unless given. */
  readonly rotary?: RotaryTable | undefined;
  /** `[B, keys]` bool: false where nobody shall look (padding). */
  readonly keyMask?: Tensor | undefined;
  /** Earlier keys and values, which the new ones are written behind. */
  readonly cache?: KeyValues | undefined;
  /** Place of the first token among the keys. 0 unless given. */
  readonly position?: number | undefined;
}

/** What attention experts give. */
export interface AttentionExpertsResult {
  /** `[B, T, H]`. */
  readonly output: Tensor;
  /** The cache with the new keys and values in it, where one was given. */
  readonly cache?: KeyValues | undefined;
}
