/** Where queries and keys are normalised: nowhere, over each head, or over the whole projection. */
export type HeadNorm = "none" | "head" | "projection";

/** YaRN (arXiv 2309.00071). */
export interface YarnScaling {
  readonly kind: "yarn";
  /** By how much the length is stretched. */
  readonly factor: number;
  /** Length that the model was trained with before. */
  readonly originalMaxPositionEmbeddings: number;
  /** Pairs that turn more often than this in that length are left as they are. */
  readonly betaFast: number;
  /** Pairs that turn less often than this are stretched whole. */
  readonly betaSlow: number;
  /** Whether the limits between are rounded outwards to whole pairs. */
  readonly truncate: boolean;
  /** Factor of cosines and sines. */
  readonly attentionFactor: number;
}

/** The factors of LongRoPE for sequences up to some length, or beyond it. */
export interface LongRopeFactors {
  /** By what each pair's angle per position is divided, `D/2`. */
  readonly factors: readonly number[];
  /** Factor of cosines and sines. */
  readonly scale: number;
}

/** How rotary positions are stretched over sequences longer than those of the first training. */
export type RopeScaling =
  /** All angles are divided by `factor`. */
  | { readonly kind: "linear"; readonly factor: number }
  /** The base grows with sequences beyond the original length (NTK-aware). */
  | {
      readonly kind: "dynamic";
      readonly factor: number;
      readonly originalMaxPositionEmbeddings: number;
    }
  /** Long waves are stretched, short ones kept, those between blended (Llama 3.1). */
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositionEmbeddings: number;
    }
  /** A factor for each pair, other ones beyond the original length (LongRoPE, arXiv 2402.13753). */
  | {
      readonly kind: "longrope";
      readonly originalMaxPositionEmbeddings: number;
      readonly short: LongRopeFactors;
      readonly long: LongRopeFactors;
    }
  | YarnScaling;

/** What all kinds of attention have. */
export interface AttentionBase {
  /** Number of query heads. */
  readonly numAttentionHeads: number;
  /** Base of the rotary frequencies. */
  readonly ropeTheta: number;
  /** How positions are stretched. Not at all unless given. */
  readonly ropeScaling?: RopeScaling | undefined;
  /** Whether neighbours are turned together instead of elements half the width apart. False unless given. */
  readonly ropeInterleaved?: boolean | undefined;
  /** Factor of the products of queries and keys. The keys' width ** −0.5 unless given. */
  readonly scale?: number | undefined;
  /** Keys up to its own place that a query sees (sliding window). All unless given. */
  readonly window?: number | undefined;
  /** Whether each query head has a learned logit that meets no value (gpt-oss). False unless given. */
  readonly sinks?: boolean | undefined;
  /** Whether the output projection has a bias. */
  readonly outputBias: boolean;
  /** Dropout of attention weights in training. Other than 0 it is refused then. */
  readonly dropout: number;
}

/** Self-attention with rotary positions and grouped queries. */
export interface GroupedAttentionConfig extends AttentionBase {
  readonly kind?: "grouped" | undefined;
  /** Number of key and value heads; divides the number of query heads. */
  readonly numKeyValueHeads: number;
  /** Width of a head, even. */
  readonly headDim: number;
  /** The leading elements of a head that are rotated, even. All unless given. */
  readonly rotaryDim?: number | undefined;
  /** Norm of queries and keys. */
  readonly headNorm: HeadNorm;
  /** Whether that norm follows the rotation instead of going before it (Hunyuan). False unless given. */
  readonly normAfterRope?: boolean | undefined;
  /** Whether the query, key and value projections have biases. */
  readonly qkvBias: boolean;
  /** Queries, keys and values are limited to ±clip (OLMoE's `clip_qkv`). No limit unless given. */
  readonly clip?: number | undefined;
}

/**
 * Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values of all heads come out
 * of one latent of each token, and one rotated part of the key serves all heads.
 */
export interface LatentAttentionConfig extends AttentionBase {
  readonly kind: "latent";
  /** Width of the queries' latent. Queries are projected directly unless given. */
  readonly qLoraRank?: number | undefined;
  /** Width of the latent of keys and values. */
  readonly kvLoraRank: number;
  /** Elements of a query or key that are not rotated. */
  readonly qkNopeHeadDim: number;
  /** Elements of a query or key that are rotated, even. */
  readonly qkRopeHeadDim: number;
  /** Width of a value. */
  readonly vHeadDim: number;
  /** Whether the projections to the latents have biases. */
  readonly latentBias: boolean;
  /** ε of the norms of the latents. */
  readonly latentNormEps: number;
}

/** Self-attention of one kind. */
export type AttentionConfig = GroupedAttentionConfig | LatentAttentionConfig;
