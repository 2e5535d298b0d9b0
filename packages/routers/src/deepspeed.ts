import {
  type Assigned,
  type Renormalization,
  type RouteSpec,
  type RouteStages,
  type Selection,
  type Tensor,
  add,
  argmax,
  foldIn,
  slice,
  takeAlong,
} from "@moiety/core";
import { type CapacityRule, capacityStage } from "./capacity-stage.ts";
import { type DrawCall, stageDraws } from "./draws.ts";
import { keepLargestLogits } from "./largest-logits.ts";
import { type LinearRouter, linearRouter } from "./linear-router.ts";
import { refuseOption, requireNotNegative, requireWhole } from "./option.ts";
import { chooseTwo } from "./second-expert.ts";
import type { StageCall } from "./staged-router.ts";

/** What DeepSpeed's gates share, by its names. */
export interface DeepspeedOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** Places of an expert in training: ⌈T / E · (factor · k)⌉; 1 unless given. */
  readonly capacityFactor?: number | undefined;
  /** The same outside training; 1 unless given. */
  readonly evalCapacityFactor?: number | undefined;
  /** Places that every expert has at least; 4 unless given. */
  readonly minCapacity?: number | undefined;
  /** Whether what finds no place is dropped; true unless given. */
  readonly dropTokens?: boolean | undefined;
  /** `Jitter`: in training the gate's input is multiplied by numbers from 0.99 to 1.01. */
  readonly noisyGatePolicy?: "Jitter" | "RSample" | undefined;
  /**
   * Whether chance has its say outside training too, as in the source, whose evaluation is not
   * deterministic. False unless given.
   */
  readonly chanceInEval?: boolean | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** Options of {@link deepspeedTop1Router}. */
export interface DeepspeedTop1Options extends DeepspeedOptions {
  /** Random token selection: who finds a place is left to chance. True unless given. */
  readonly useRts?: boolean | undefined;
}

/** Options of {@link deepspeedTop2Router}. */
export interface DeepspeedTop2Options extends DeepspeedOptions {
  /** Draws the second expert by Gumbel noise on the logits. True unless given. */
  readonly top2SecondExpertSampling?: boolean | undefined;
  readonly noisyGatePolicy?: "Jitter" | undefined;
}

/** Options of {@link deepspeedTopKRouter}. */
export interface DeepspeedTopKOptions extends DeepspeedOptions {
  readonly k: number;
  /** Who is dropped: the smallest logits (`probs`, the default) or the last tokens (`position`). */
  readonly dropPolicy?: "probs" | "position" | undefined;
  readonly noisyGatePolicy?: "Jitter" | undefined;
}

/** Over what survives; ε is that of the dtype. */
const SURVIVORS: Renormalization = { epsilon: "machine", guard: "max", when: "after" };

/** Stages of {@link deepspeedTop1Router} for a call. */
export function deepspeedTop1Stages(options: DeepspeedTop1Options, call: StageCall): RouteStages {
  const { useRts = true, noisyGatePolicy, numExperts } = options;
  const select = (selection: Selection): Tensor => {
    const { logits } = selection;
    const noisy = add(logits, stageDraws(drawOf(call, 0), "gumbel", logits.shape, logits));
    return argmax(noisy).reshape([logits.shape[0] ?? 0, 1]);
  };
  const capacity = (assigned: Assigned): Tensor => {
    const { indices, logits } = assigned;
    const chance = useRts && hasChance(options, call);
    const draws = chance && stageDraws(drawOf(call, 1), "uniform", logits.shape, logits);
    const weights = draws ? takeAlong(draws, indices, { axis: 1 }) : assigned.weights;
    const order = draws ? "probability" : "position";
    const place = capacityStage(ruleOf(options, call, 1, order), numExperts, call.context);
    return place({ ...assigned, weights });
  };
  return {
    ...(noisyGatePolicy === "RSample" && call.training && { select }),
    ...(options.dropTokens !== false && { capacity }),
  };
}

/** Stages of {@link deepspeedTop2Router} for a call. */
export function deepspeedTop2Stages(options: DeepspeedTop2Options, call: StageCall): RouteStages {
  const { top2SecondExpertSampling = true, numExperts } = options;
  const sampling = top2SecondExpertSampling && hasChance(options, call);
  return {
    select(selection) {
      const { logits } = selection;
      return chooseTwo(
        selection,
        sampling ? stageDraws(drawOf(call, 0), "gumbel", logits.shape, logits) : undefined,
      );
    },
    ...(options.dropTokens !== false && {
      capacity: capacityStage(ruleOf(options, call, 2, "choice"), numExperts, call.context),
    }),
  };
}

/** Stages of {@link deepspeedTopKRouter} for a call. */
export function deepspeedTopKStages(options: DeepspeedTopKOptions, call: StageCall): RouteStages {
  const { k, dropPolicy = "probs", numExperts } = options;
  if (options.dropTokens === false) return {};
  const rule = ruleOf(options, call, k, "position");
  if (dropPolicy === "position") return { capacity: capacityStage(rule, numExperts, call.context) };
  return {
    capacity: ({ indices, logits }) =>
      keepLargestLogits(indices, logits, rule.places(logits.shape[0] ?? 0), call.context.mask),
  };
}

/** The stages of DeepSpeed's gates as data, without chance and capacity. */
export function deepspeedSpec({
  numExperts,
  k,
}: Pick<DeepspeedTopKOptions, "numExperts" | "k">): RouteSpec {
  return {
    experts: numExperts,
    topK: k,
    score: "softmax",
    selectBy: k > 1 ? "logits" : "scores",
    renormalize: k > 1 ? SURVIVORS : undefined,
  };
}

/**
 * DeepSpeed's `top1gating`: p = softmax(x · Wᵀ), the best expert, weight p. With random token
 * selection the places of an expert go to its tokens by chance; without it, in order of position (the
 * source's choice among equals is arbitrary there). `RSample` adds Gumbel noise to the logits of the
 * choice in training.
 *
 * Chance needs `context.key`, or `context.noise [T, E]`: even numbers in [0, 1) where tokens are
 * selected by chance, standard Gumbel ones for `RSample`; with both, `[2, T, E]`, the Gumbel numbers
 * first. Looks across tokens: places are counted over the whole batch.
 *
 * Source: microsoft/DeepSpeed `sharded_moe.py`. @throws ConfigError
 */
export function deepspeedTop1Router(options: DeepspeedTop1Options): LinearRouter {
  return deepspeedRouter(options, 1, (call) => deepspeedTop1Stages(options, call));
}

/**
 * DeepSpeed's `top2gating`: p = softmax(x · Wᵀ); the best expert, and a second drawn from the softmax
 * of the others (or the best of them); all first choices find their places before all second ones;
 * weights p_j divided by the sum of those that found one. Sampling needs `context.key`, or standard
 * Gumbel `context.noise [T, E]`. Looks across tokens: places are counted over the whole batch.
 *
 * Source: microsoft/DeepSpeed `sharded_moe.py`. @throws ConfigError
 */
export function deepspeedTop2Router(options: DeepspeedTop2Options): LinearRouter {
  return deepspeedRouter(options, 2, (call) => deepspeedTop2Stages(options, call));
}

/**
 * DeepSpeed's `topkgating`: p = softmax(x · Wᵀ), the k best; weights p_j divided by the sum of those
 * that found a place. Policy `probs` gives the places of an expert to the largest logits, with a quirk
 * of the source: tokens that did not choose the expert compete with 0, so a chosen negative logit can
 * lose to them. Looks across tokens: places are counted over the whole batch.
 *
 * Source: microsoft/DeepSpeed `sharded_moe.py`. @throws ConfigError
 */
export function deepspeedTopKRouter(options: DeepspeedTopKOptions): LinearRouter {
  const { dropPolicy = "probs" } = options;
  if (!["probs", "position"].includes(dropPolicy)) {
    throw refuseOption("dropPolicy", dropPolicy, "probs or position");
  }
  return deepspeedRouter(options, options.k, (call) => deepspeedTopKStages(options, call));
}

function deepspeedRouter(
  options: DeepspeedOptions,
  k: number,
  stages: (call: StageCall) => RouteStages,
): LinearRouter {
  checkOptions(options, k);
  return linearRouter({
    inputSize: options.hiddenSize,
    spec: deepspeedSpec({ numExperts: options.numExperts, k }),
    stages,
    jitter: options.noisyGatePolicy === "Jitter" ? 0.01 : undefined,
    acrossTokens: options.dropTokens !== false,
    initializerRange: options.initializerRange,
  });
}

function hasChance({ chanceInEval = false }: DeepspeedOptions, { training }: StageCall): boolean {
  return training || chanceInEval;
}

/** `_capacity`, rounding included: ⌈T / E · (factor · k)⌉, at least the minimum. */
function ruleOf(
  options: DeepspeedOptions,
  { training }: StageCall,
  k: number,
  order: CapacityRule["order"],
): CapacityRule {
  const { capacityFactor = 1, evalCapacityFactor = 1, minCapacity = 4, numExperts } = options;
  const factor = (training ? capacityFactor : evalCapacityFactor) * k;
  return {
    per: "batch",
    order,
    places: (tokens) => Math.max(Math.ceil((tokens / numExperts) * factor), minCapacity),
  };
}

function checkOptions(options: DeepspeedOptions, k: number): void {
  const { minCapacity = 4, noisyGatePolicy } = options;
  for (const key of ["capacityFactor", "evalCapacityFactor"] as const) {
    const factor = options[key] ?? 1;
    requireNotNegative(key, factor);
  }
  requireWhole("minCapacity", minCapacity, 0);
  const known = noisyGatePolicy === undefined || noisyGatePolicy === "Jitter" || k === 1;
  if (!known)
    throw refuseOption("noisyGatePolicy", noisyGatePolicy, "Jitter, for more than one expert");
}

/** The part of a call's noise and key that belongs to one of its draws. */
function drawOf({ context, key }: StageCall, index: number): DrawCall {
  const { noise } = context;
  const several = noise?.rank === 3 ? noise : undefined;
  const [, tokens = 0, experts = 0] = several?.shape ?? [];
  const own = several
    ? slice(several, { starts: [index, 0, 0], sizes: [1, tokens, experts] }).reshape([
        tokens,
        experts,
      ])
    : noise;
  return { context: { ...context, noise: own }, key: key && foldIn(key, index) };
}
