import type { Activation, GateClamp, GateLayout, Merge } from "@moiety/core";
import type { ScaledOptions, SpecialExperts } from "@moiety/experts";
import type { StageOptions } from "@moiety/routers";
import type { LossOptionsByKind } from "./losses.ts";
import type { PresetOptions } from "./presets.ts";

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
  /** The leading elements of a head that are rotated, even. All unless given. */
  readonly rotaryDim?: number | undefined;
  /** Factor of the products of queries and keys. `headDim` ** −0.5 unless given. */
  readonly scale?: number | undefined;
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
  /** Limits of gate and up, before or after the activation. None unless given. */
  readonly clamp?: GateClamp | undefined;
  /** Steepness of `silu`: x · σ(alpha · x). 1 unless given. */
  readonly alpha?: number | undefined;
  /** Added to the up half before it is multiplied. 0 unless given. */
  readonly upOffset?: number | undefined;
  /** Whether weights are held as `[in, out]`. False unless given. */
  readonly transposed?: boolean | undefined;
}

/** A linear gate and the stages of a spec. */
export interface StagedRouterConfig extends Pick<StageOptions, "spec" | "jitter" | "noise"> {
  readonly kind?: "staged" | undefined;
  /** Whether the linear gate has a bias. False unless given. */
  readonly linearBias?: boolean | undefined;
  /** c of logits that are c · tanh(l / c) for losses too, not only for the stages. None unless given. */
  readonly logitSoftcap?: number | undefined;
}

/** A router by the name of its preset, with the preset's options. */
export type PresetRouterConfig = {
  [Kind in keyof PresetOptions]: { readonly kind: Kind } & Omit<
    PresetOptions[Kind],
    "hiddenSize" | "initializerRange"
  >;
}[keyof PresetOptions];

/** A router of the catalogue of `@moiety/routers` by its name, as the catalogue makes it. */
export interface CatalogueRouterConfig {
  readonly kind: "catalogue";
  /** Such as `expertChoiceRouter`. */
  readonly name: string;
  /** E. */
  readonly experts: number;
  /** k, where the router has none of its own. */
  readonly topK: number;
  /** Number of token ids V, for routers that go by them. */
  readonly vocabSize?: number | undefined;
  /** Whether it routes by the causal rule that the catalogue names. False unless given. */
  readonly causal?: boolean | undefined;
}

/** A router as data: stages behind a linear gate, or a preset of `@moiety/routers` by its name. */
export type RouterConfig = StagedRouterConfig | PresetRouterConfig | CatalogueRouterConfig;

/** What stands around the experts of a layer. Its leaves are beside those of the `bank` inside. */
export type BankWrapping =
  /** Experts without weights or with few, whose ids follow those of the others. */
  | { readonly kind: "special"; readonly experts: readonly SpecialExperts[] }
  /** A shared projection to `latentSize` before the experts and one back after them, if given. */
  | {
      readonly kind: "latent";
      readonly latentSize: number | undefined;
      readonly bias?: boolean | undefined;
    }
  /** A learned factor of each expert's output, or one of the layer's. */
  | ({ readonly kind: "scaled" } & ScaledOptions)
  /** The layer's input, for what the weights leave of 1 (BASE). */
  | { readonly kind: "base" }
  /** One learned bias, added once after combining. */
  | { readonly kind: "outputBias" }
  /** A fixed factor of the outputs. */
  | { readonly kind: "factor"; readonly factor: number };

/** A Mixture-of-Experts layer as data. */
export interface MoeConfig {
  readonly router: RouterConfig;
  /** One expert. */
  readonly expert: FfnConfig;
  /** More experts of other kinds or sizes, whose ids follow. None unless given. */
  readonly others?: readonly (FfnConfig & { readonly experts: number })[] | undefined;
  /** What stands around the experts, from the inside out. Nothing unless given. */
  readonly around?: readonly BankWrapping[] | undefined;
  /** The expert that every token takes. None unless given. */
  readonly shared?: (FfnConfig & { readonly merge: Merge }) | undefined;
}

/** What follows attention in one layer of a decoder: a dense network, or experts. */
export type LayerConfig = { readonly dense: FfnConfig } | { readonly moe: MoeConfig };

/** One loss over the routings of all layers by its name, with its options. */
export type LossConfig = {
  [Kind in keyof LossOptionsByKind]: { readonly kind: Kind } & LossOptionsByKind[Kind];
}[keyof LossOptionsByKind];

/** Fixed numbers by which Granite's models scale what runs through them; 1 unless given. */
export interface DecoderScales {
  /** Factor of the embedding. */
  readonly embedding?: number | undefined;
  /** Factor of what attention and the network add to the residual stream. */
  readonly residual?: number | undefined;
  /** Divisor of the logits. */
  readonly logits?: number | undefined;
}

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
  /** Scales of the whole. None unless given. */
  readonly scales?: DecoderScales | undefined;
  /** Every layer in turn. */
  readonly layers: readonly LayerConfig[];
  /** Losses over the routings of all layers together. */
  readonly losses: readonly LossConfig[];
}
