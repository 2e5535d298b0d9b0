import type { Activation, GateClamp, GateLayout, Merge, ProductFormat } from "@moiety/core";
import type { ScaledOptions, SpecialExperts } from "@moiety/experts";
import type { StageOptions } from "@moiety/routers";
import type { AttentionConfig } from "./attention-config.ts";
import type { LossOptionsByKind } from "./losses.ts";
import type { PresetOptions } from "./presets.ts";

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
  /** Format in which the matrices of all routed experts are held. Floats unless given. */
  readonly format?: ProductFormat | undefined;
  /** More experts of other kinds or sizes, whose ids follow. None unless given. */
  readonly others?: readonly (FfnConfig & { readonly experts: number })[] | undefined;
  /** What stands around the experts, from the inside out. Nothing unless given. */
  readonly around?: readonly BankWrapping[] | undefined;
  /** The expert that every token takes. None unless given. */
  readonly shared?: (FfnConfig & { readonly merge: Merge }) | undefined;
}

/** One layer of a decoder: attention, then a dense network or experts. */
export type LayerConfig = ({ readonly dense: FfnConfig } | { readonly moe: MoeConfig }) & {
  /** This layer's attention, where it is not that of the others. */
  readonly attention?: AttentionConfig | undefined;
};

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
  /** ε of the norms around layers and before the output projection. */
  readonly rmsNormEps: number;
  /** What those norms are: RMSNorm, or LayerNorm with biases. RMSNorm unless given. */
  readonly norm?: "rms" | "layer" | undefined;
  /** Whether a layer's parts are normalised before they run or after. Before unless given. */
  readonly normPosition?: "before" | "after" | undefined;
  /** Whether the output projection has a bias. False unless given. */
  readonly headBias?: boolean | undefined;
  /** Standard deviation of initial weights. */
  readonly initializerRange: number;
  /**
   * Format in which the matrices outside of routed experts are held: embedding, output projection,
   * attention, dense layers and shared experts. Floats unless given.
   */
  readonly format?: ProductFormat | undefined;
  /** Whether the output projection is the embedding. */
  readonly tieWordEmbeddings: boolean;
  /** Attention of the layers that name none of their own. */
  readonly attention: AttentionConfig;
  /** Scales of the whole. None unless given. */
  readonly scales?: DecoderScales | undefined;
  /** Every layer in turn. */
  readonly layers: readonly LayerConfig[];
  /** Losses over the routings of all layers together. */
  readonly losses: readonly LossConfig[];
}
