import type { CapacitySpec } from "./capacity.ts";

/** How logits become scores. `sqrtSoftplus` is √softplus (DeepSeek-V4), `identity` leaves logits. */
export type ScoreKind = "softmax" | "sigmoid" | "sqrtSoftplus" | "identity";

/** Only the best groups of experts may be chosen from (DeepSeek-V2/V3). */
export interface GroupLimit {
  /** Number of groups; divides the number of experts. */
  readonly count: number;
  /** How many groups stay. */
  readonly topK: number;
  /** A group's score: its best expert, or the sum of its `top` best. */
  readonly score: "max" | { readonly top: number };
  /**
   * What experts of other groups get: `mask` cannot be chosen; `zero` scores 0, and can still win
   * over negative biased scores (transformers 4.57).
   */
  readonly fill: "mask" | "zero";
}

/** Division of the chosen weights by their norm. */
export interface Renormalization {
  /** Order of the norm; 1 (the sum) unless given. */
  readonly p?: number | undefined;
  /** Against 0/0; `machine` is the dtype's epsilon. None unless given. */
  readonly epsilon?: number | "machine" | undefined;
  /** `add` (norm + ε) unless given, or `max` (the larger of norm and ε). */
  readonly guard?: "add" | "max" | undefined;
  /** Over all chosen (`before` capacity, the default) or over those that found a place. */
  readonly when?: "before" | "after" | undefined;
  /** Leaves a single choice alone (k = 1), as DeepSeek's own code does. */
  readonly skipSingle?: boolean | undefined;
}

/**
 * Token-choice routing as plain data: every family is one of these. The stages, in order:
 * `logits → temperature → softcap → score → select (bias, groups) → weight (renormalise, scale)
 * → capacity`. Its definition is the decomposition of `routeTopK`.
 */
export interface RouteSpec {
  /** Number of experts E. */
  readonly experts: number;
  /** Experts per token k. */
  readonly topK: number;
  /** Logits are divided by it. */
  readonly temperature?: number | undefined;
  /** c · tanh(logits / c) (Grok-1). */
  readonly softcap?: number | undefined;
  readonly score: ScoreKind;
  /** What selection compares, before the bias: scores unless given. */
  readonly selectBy?: "scores" | "logits" | undefined;
  /** Whether a bias `[E]` is added for selection only (DeepSeek-V3). */
  readonly bias?: boolean | undefined;
  readonly groups?: GroupLimit | undefined;
  /** Weights of the chosen: their scores, or a softmax or sigmoid over their logits. */
  readonly weight?: "scores" | "softmaxOfChosen" | "sigmoidOfChosen" | undefined;
  readonly renormalize?: Renormalization | undefined;
  /** Factor of the weights, after renormalisation. 1 unless given. */
  readonly scale?: number | undefined;
  /** Where weights apply: on the experts' outputs unless given. */
  readonly site?: "output" | "input" | undefined;
  /** Dropless unless given. */
  readonly capacity?: CapacitySpec | undefined;
}
