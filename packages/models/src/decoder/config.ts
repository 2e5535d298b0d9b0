import type { Activation, GateLayout, Merge } from "@moiety/core";
import type {
  HuggingFaceBalanceOptions,
  ImportanceCvOptions,
  LossOptions,
  SwitchBalanceOptions,
} from "@moiety/losses";
import type { LinearRouterOptions } from "@moiety/routers";

/** Where queries and keys are normalised: nowhere, over each head, or over the whole projection. */
export type HeadNorm = "none" | "head" | "projection";

/** Self-attention with rotary positions and grouped queries. */
export interface AttentionConfig {
  /** Number of query heads. */
  readonly numAttentionHeads: number;
  /** Number of key and value heads; divides the number of query heads. */
  readonly numKeyValueHeads: number;
  /** Width of a head, even. */
  readonly headDim: number;
  /** Base of the rotary frequencies. */
  readonly ropeTheta: number;
  /** Norm of queries and keys before they are rotated. */
  readonly headNorm: HeadNorm;
  /** Whether the query, key and value projections have biases. */
  readonly qkvBias: boolean;
  /** Whether the output projection has a bias. */
  readonly outputBias: boolean;
  /** Queries, keys and values are limited to ±clip (OLMoE's `clip_qkv`). No limit unless given. */
  readonly clip?: number | undefined;
  /** Dropout of attention weights in training. Other than 0 it is refused then. */
  readonly dropout: number;
}

/** A feed-forward network: a dense layer, one expert of a bank, or a shared expert. */
export interface FfnConfig {
  /** Width I. */
  readonly intermediateSize: number;
  readonly activation: Activation;
  /** Whether it is down(act(gate(x)) · up(x)) instead of down(act(up(x))). */
  readonly gated: boolean;
  /** Whether both projections have biases. False unless given. */
  readonly bias?: boolean | undefined;
  /** How gate and up are packed in one leaf: concatenated, gate first, unless given. */
  readonly layout?: GateLayout | undefined;
}

/** A router as data; its spec holds the numbers of experts and choices. */
export type RouterConfig = Pick<LinearRouterOptions, "spec" | "linearBias" | "jitter" | "noise">;

/** A Mixture-of-Experts layer as data. */
export interface MoeConfig {
  readonly router: RouterConfig;
  /** One expert. */
  readonly expert: FfnConfig;
  /** The expert that every token takes. None unless given. */
  readonly shared?: (FfnConfig & { readonly merge: Merge }) | undefined;
}

/** What follows attention in one layer of a decoder: a dense network, or experts. */
export type LayerConfig = { readonly dense: FfnConfig } | { readonly moe: MoeConfig };

/** One loss over the routings of all layers, with its options. */
export type LossConfig =
  | ({ readonly kind: "huggingFaceBalance" } & HuggingFaceBalanceOptions)
  | ({ readonly kind: "huggingFaceSwitchBalance" } & LossOptions)
  | ({ readonly kind: "importanceCv" } & ImportanceCvOptions)
  | ({ readonly kind: "switchBalance" } & SwitchBalanceOptions)
  | ({ readonly kind: "zLoss" } & LossOptions);

/** A decoder-only language model as data. Sizes are those of Hugging Face's configurations. */
export interface DecoderConfig {
  /** Number of tokens V. */
  readonly vocabSize: number;
  /** Width H between layers. */
  readonly hiddenSize: number;
  /** ε of every RMSNorm. */
  readonly rmsNormEps: number;
  /** Standard deviation of initial weights. */
  readonly initializerRange: number;
  /** Whether the output projection is the embedding. */
  readonly tieWordEmbeddings: boolean;
  readonly attention: AttentionConfig;
  /** Every layer in turn. */
  readonly layers: readonly LayerConfig[];
  /** Losses over the routings of all layers together. */
  readonly losses: readonly LossConfig[];
}
