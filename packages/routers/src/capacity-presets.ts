import type { CapacitySpec, RouteSpec } from "@moiety/core";
import { refuseOption, requireWhole } from "./option.ts";

/** What a system's capacity says in a spec: who finds a place, and when weights are renormalised. */
export type CapacityPreset = Pick<RouteSpec, "capacity" | "renormalize">;

/** Options of {@link switchCapacity} and {@link gshardCapacity}. */
export interface GshardCapacityOptions {
  /** Of the even share T/E of a group, whatever k; Switch: 1.0 to 2.0, GShard: 2. */
  readonly capacityFactor: number;
  /** 4 for `gshardCapacity` unless given, as lingvo has it; 0 for `switchCapacity`. */
  readonly minimum?: number | undefined;
}

/**
 * Switch Transformer: ⌊factor · T/E⌋ places in each group (sequence); the first tokens get them; the
 * single weight is not renormalised.
 *
 * Paper: Fedus, Zoph & Shazeer, "Switch Transformers" (2021), eq. 3.
 * @throws ConfigError
 */
export function switchCapacity(options: GshardCapacityOptions): CapacityPreset {
  const { capacityFactor, minimum = 0 } = options;
  requireFactor(capacityFactor);
  const size = { factor: capacityFactor, rounding: "floor", minimum } as const;
  return { capacity: { size, per: "sequence", order: "position" } };
}

/**
 * GShard's top-2: ⌊factor · T/E⌋ places in each group (sequence), at least 4; all first choices come
 * before all second ones, then by position; both weights are divided by their sum + 1e-9 before any
 * is dropped.
 *
 * Paper: Lepikhin et al., "GShard" (2020), algorithm 1. Source: tensorflow/mesh
 * `transformer/moe.py`, `_top_2_gating`.
 * @throws ConfigError
 */
export function gshardCapacity(options: GshardCapacityOptions): CapacityPreset {
  const { capacityFactor, minimum = 4 } = options;
  requireFactor(capacityFactor);
  // A spec's factor is of T·k/E, and k is 2.
  const size = { factor: capacityFactor / 2, rounding: "floor", minimum } as const;
  return {
    capacity: { size, per: "sequence", order: "choice" },
    renormalize: { epsilon: 1e-9, when: "before" },
  };
}

/** Options of {@link deepspeedCapacity}. */
export interface DeepspeedCapacityOptions {
  /** Of T·k/E; 1 unless given. */
  readonly capacityFactor?: number | undefined;
  /** 8 unless given. */
  readonly minCapacity?: number | undefined;
  /** Which of its gates: `top1`, `top2` or `topk`. */
  readonly gate: "top1" | "top2" | "topk";
  /** Of `top1`: random token selection; true unless given. Needs a key, in evaluation, too. */
  readonly useRts?: boolean | undefined;
  /** Of `topk`: who is dropped; `probs` unless given. */
  readonly dropPolicy?: "probs" | "position" | undefined;
}

/**
 * DeepSpeed: ⌈T/E · factor · k⌉ places over the whole batch, at least `minCapacity`. Top-1 draws who
 * finds a place and leaves the weight alone; top-2 puts all first choices before all second ones;
 * top-k goes by the heaviest weight, or by position. Both renormalise over the choices that survived,
 * by a sum of the dtype's epsilon at least.
 *
 * Source: DeepSpeed `moe/sharded_moe.py`, `top1gating`, `top2gating`, `topkgating`.
 * @throws ConfigError
 */
export function deepspeedCapacity(options: DeepspeedCapacityOptions): CapacityPreset {
  const { capacityFactor = 1, minCapacity = 8, gate, useRts = true } = options;
  requireFactor(capacityFactor);
  const size = { factor: capacityFactor, rounding: "ceil", minimum: minCapacity } as const;
  const order = deepspeedOrder(gate, useRts, options.dropPolicy ?? "probs");
  const survivors = { epsilon: "machine", guard: "max", when: "after" } as const;
  return {
    capacity: { size, per: "batch", order },
    ...(gate !== "top1" && { renormalize: survivors }),
  };
}

function deepspeedOrder(
  gate: DeepspeedCapacityOptions["gate"],
  useRts: boolean,
  dropPolicy: "probs" | "position",
): CapacitySpec["order"] {
  switch (gate) {
    case "top1":
      return useRts ? "random" : "position";
    case "top2":
      return "choice";
    case "topk":
      return dropOrder(dropPolicy);
    default:
      throw refuseOption("gate", gate, "top1, top2 or topk");
  }
}

/** Options of {@link megatronCapacity}. */
export interface MegatronCapacityOptions {
  /** Of T·k/E (`moe_expert_capacity_factor`). */
  readonly capacityFactor: number;
  /** `moe_token_drop_policy`; `probs` unless given. */
  readonly dropPolicy?: "probs" | "position" | undefined;
}

/**
 * Megatron-LM: ⌈T·k/E · factor⌉ places over the whole batch for the heaviest probabilities, or by
 * position; first choices have no precedence, and the rest is not renormalised. Its `position` leaves
 * open which tokens survive (an unsorted top-k of a 0/1 map); here the first ones do.
 *
 * Source: Megatron-LM `moe_utils.py`, `apply_router_token_dropping`, `get_capacity`.
 * @throws ConfigError
 */
export function megatronCapacity(options: MegatronCapacityOptions): CapacityPreset {
  const { capacityFactor, dropPolicy = "probs" } = options;
  requireFactor(capacityFactor);
  const size = { factor: capacityFactor, rounding: "ceil" } as const;
  return { capacity: { size, per: "batch", order: dropOrder(dropPolicy) } };
}

/** Options of {@link vmoeCapacity}. */
export interface VmoeCapacityOptions {
  /** Of T·k/E of a group. */
  readonly capacityFactor: number;
  /** How places are made whole; `ceil` unless given. */
  readonly ceilOrRound?: "ceil" | "round" | undefined;
  /** Places are raised to a multiple of it; 4 unless given. */
  readonly multipleOf?: number | undefined;
  /** Whether tokens with the heaviest best gate come first; false unless given. */
  readonly batchPriority?: boolean | undefined;
}

/**
 * V-MoE: ⌈T·k/E · factor⌉ places (or rounded) in each group (sequence), raised to a multiple of 4;
 * all first choices before all second ones, then by position or, with batch priority, by the token's
 * best gate; nothing is renormalised. `round` takes halves up, where Python's takes them to even:
 * `vmoeRouter` does as Python does.
 *
 * Paper: Riquelme et al., "Scaling Vision with Sparse Mixture of Experts" (2021). Source: vmoe
 * `moe.py`, `compute_capacity`, `get_top_experts_per_item_dispatcher`.
 * @throws ConfigError
 */
export function vmoeCapacity(options: VmoeCapacityOptions): CapacityPreset {
  const { capacityFactor, ceilOrRound = "ceil", multipleOf = 4, batchPriority = false } = options;
  requireFactor(capacityFactor);
  const size = { factor: capacityFactor, rounding: ceilOrRound, multipleOf } as const;
  const order = batchPriority ? "prioritized" : "choice";
  return { capacity: { size, per: "sequence", order } };
}

/** Options of {@link tutelCapacity}. */
export interface TutelCapacityOptions {
  /**
   * Above 0: places are k · ⌊factor · ⌈T/E⌉⌋. 0: as many as needed. Below 0: as many as needed, but
   * at most those of its absolute value, which drops the same.
   */
  readonly capacityFactor?: number | undefined;
  /** Places are raised to a multiple of it; 1 unless given. */
  readonly alignment?: number | undefined;
  /** Whether tokens with the highest best score come first; false unless given. */
  readonly batchPrioritizedRouting?: boolean | undefined;
  /** k. */
  readonly topK: number;
  /** E. */
  readonly experts: number;
  /** T, padding included. */
  readonly tokens: number;
}

/**
 * Tutel: k · ⌊factor · ⌈T/E⌉⌋ places over the whole batch; all first choices before all second ones,
 * then by position or by the best score; weights are divided by their sum (the dtype's epsilon at
 * least) before any is dropped, unless k is 1. The size is a number because no factor gives it; where
 * priority counts use `tutelRouter`, which ranks by scores, not by the divided weights.
 *
 * Source: Tutel `impls/fast_dispatch.py`, `extract_critical`.
 * @throws ConfigError
 */
export function tutelCapacity(options: TutelCapacityOptions): CapacityPreset {
  const { capacityFactor = 1, batchPrioritizedRouting = false } = options;
  const renormalize = { epsilon: "machine", guard: "max", skipSingle: true } as const;
  if (capacityFactor === 0) return { renormalize };
  const size = { absolute: tutelPlaces(options) };
  const order = batchPrioritizedRouting ? "prioritized" : "choice";
  return { capacity: { size, per: "batch", order }, renormalize };
}

/** Places of an expert by Tutel's rule. @throws ConfigError */
export function tutelPlaces({
  capacityFactor = 1,
  alignment = 1,
  topK,
  experts,
  tokens,
}: TutelCapacityOptions): number {
  if (!Number.isFinite(capacityFactor)) {
    throw refuseOption("capacityFactor", capacityFactor, "a finite number");
  }
  requireWhole("alignment", alignment);
  const places = topK * Math.floor(Math.abs(capacityFactor) * Math.ceil(tokens / experts));
  return Math.ceil(places / alignment) * alignment;
}

function dropOrder(policy: "probs" | "position"): CapacitySpec["order"] {
  if (policy === "probs") return "probability";
  if (policy === "position") return "position";
  throw refuseOption("dropPolicy", policy, "probs or position");
}

/** Refuses a capacity of 0 and less: nobody would find a place. @throws ConfigError */
function requireFactor(factor: number): void {
  if (factor > 0 && Number.isFinite(factor)) return;
  throw refuseOption("capacityFactor", factor, "a finite number above 0");
}
