import { gatingCases } from "./gating-cases.ts";
import { layerCases } from "./layer-cases.ts";

/** A case of one library's loss on one router. */
export interface SourceCase {
  readonly name: string;
  readonly experts: number;
  readonly topK: number;
  /** Groups of as many tokens each. */
  readonly groups: number;
  readonly score: "softmax" | "sigmoid";
  /** Whether the logits are float32 numbers, written short. */
  readonly short?: boolean;
  /** `[T, E]`. */
  readonly logits: readonly number[];
  readonly value: number;
  /** Of the z-loss, without its coefficient. */
  readonly z?: number;
  /** V-MoE's importance loss. */
  readonly importance?: number;
  /** NLLB's weights `[T, 2]` of the two best after dropping, 0 where dropped. */
  readonly weights?: readonly number[];
  /** Gradient of `value`, or where there is a `z` of 0.01 · value + 0.001 · z. */
  readonly gradient?: readonly number[];
}

/**
 * Values and gradients of other libraries' balance losses, run unmodified in float64: DeepSpeed
 * `sharded_moe.py` (38327e0), flaxformer `routing.py` (399ea3a), Megatron-LM `moe_utils.py` (d98e8a6),
 * vmoe `routing.py` (942a78b), lucidrains/st-moe-pytorch (d94e65d), and transformers 4.57.6
 * `modeling_nllb_moe.py`. Logits that are float32 numbers are written as short as float32 allows.
 */
export const sourceCases: readonly SourceCase[] = [...gatingCases, ...layerCases];
