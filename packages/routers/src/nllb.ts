import {
  type Assigned,
  type Choice,
  type RouteAttributes,
  type RouteSpec,
  type RouteStages,
  type Selection,
  type Tensor,
  concat,
  less,
  mul,
  select,
  slice,
  takeAlong,
} from "@moiety/core";
import { type CapacityRule, capacityStage } from "./capacity-stage.ts";
import { stageDraws } from "./draws.ts";
import { type LinearRouter, linearRouter } from "./linear-router.ts";
import { refuseOption } from "./option.ts";
import {
  type SecondExpertPolicy,
  checkPolicy,
  chooseTwo,
  keepByChance,
  weighCandidates,
} from "./second-expert.ts";
import type { StageCall } from "./staged-router.ts";

/** Options of {@link nllbRouter}, by the names of Hugging Face's configuration. */
export interface NllbOptions {
  /** H (`d_model`). */
  readonly hiddenSize: number;
  /** E, at least 2. */
  readonly numExperts: number;
  /** Places of an expert in the whole batch; `null` for 2 · ⌈T / E⌉. 64 unless given. */
  readonly expertCapacity?: number | null | undefined;
  /** `all` unless given. */
  readonly secondExpertPolicy?: SecondExpertPolicy | undefined;
  /**
   * Whether chance has its say outside training too, as in the source, where evaluation then needs a
   * key. False unless given: evaluation takes the second best.
   */
  readonly chanceInEval?: boolean | undefined;
  /** Whether weights are divided by their sum before dropping, not after. False unless given. */
  readonly normalizeRouterProbBeforeDropping?: boolean | undefined;
  /** Whether tokens with the largest probability are placed first. False unless given. */
  readonly batchPrioritizedRouting?: boolean | undefined;
  /** Outside training, where above 0: places are ⌈fraction · T⌉ instead. 1 unless given. */
  readonly moeEvalCapacityTokenFraction?: number | undefined;
  /** Whether the logits have a bias; false unless given. */
  readonly routerBias?: boolean | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** NLLB-MoE's stages as data, without chance; the capacity is that of training. */
export function nllbSpec({
  numExperts,
  normalizeRouterProbBeforeDropping = false,
}: Pick<NllbOptions, "numExperts" | "normalizeRouterProbBeforeDropping">): RouteSpec {
  return {
    experts: numExperts,
    topK: 2,
    score: "softmax",
    renormalize: {
      epsilon: "machine",
      guard: "max",
      when: normalizeRouterProbBeforeDropping ? "before" : "after",
    },
  };
}

/**
 * NLLB-MoE's top-2 router: p = softmax(x · Wᵀ); the best expert and the best of the others; places
 * over the whole batch, all first choices before all second ones, by position or by the largest
 * probability of a token; weights p_j / max(Σ p, ε) over the choices that found a place (or over both,
 * before dropping). ε is the machine's.
 *
 * Policy `random` keeps the second expert with probability min(1, 2 · p₂), of p before
 * normalisation, and needs `context.key`, or evenly drawn `context.noise [T, 2]` (its second column
 * decides). As in the source, its second weight stays p₂ where weights are normalised before
 * dropping. `sampling` draws the second expert and needs a key, or standard Gumbel `context.noise
 * [T, E]`. Looks across tokens: places.
 *
 * In the source an expert's output is multiplied by 1 − `moe_token_dropout` outside training; that
 * is the experts' part.
 *
 * Paper: NLLB Team, "No Language Left Behind" (2022). Source: transformers 4.57
 * `modeling_nllb_moe.py`, `NllbMoeTop2Router`.
 * @throws ConfigError
 */
export function nllbRouter(options: NllbOptions): LinearRouter {
  checkOptions(options);
  return linearRouter({
    inputSize: options.hiddenSize,
    spec: nllbSpec(options),
    stages: (call) => nllbStages(options, call),
    acrossTokens: true,
    linearBias: options.routerBias,
    initializerRange: options.initializerRange,
  });
}

function nllbStages(options: NllbOptions, call: StageCall): RouteStages {
  const { secondExpertPolicy = "all", chanceInEval = false } = options;
  const policy = call.training || chanceInEval ? secondExpertPolicy : "all";
  return {
    select: (selection) => chooseNllb(policy, selection, call),
    ...(policy === "random" &&
      options.normalizeRouterProbBeforeDropping && { weight: weighRandomly }),
    capacity: (assigned) => placeNllb(options, assigned, call),
  };
}

function chooseNllb(policy: SecondExpertPolicy, selection: Selection, call: StageCall): Tensor {
  const { logits, scores } = selection;
  const [, experts = 0] = scores.shape;
  if (policy === "sampling") {
    return chooseTwo(selection, stageDraws(call, "gumbel", logits.shape, logits));
  }
  const two = chooseTwo(selection);
  if (policy === "all") return two;
  const twice = mul(takeAlong(scores, two, { axis: 1 }), 2);
  return keepByChance(two, twice, stageDraws(call, "uniform", two.shape, scores), experts);
}

/** p₁ / (p₁ + p₂) and, as in the source, p₂ itself where the second expert stays. */
function weighRandomly(choice: Choice, spec: RouteAttributes): Tensor {
  const { scores, indices } = choice;
  const column = (of: Tensor, index: number): Tensor =>
    slice(of, { starts: [0, index], sizes: [of.shape[0] ?? 0, 1] });
  const second = column(indices, 1);
  const raw = takeAlong(scores, second, { axis: 1, unique: true });
  const kept = select(less(second, scores.shape[1] ?? 0), raw, 0);
  return concat(column(weighCandidates(choice, spec), 0), kept, { axis: 1 });
}

/** Places by the probabilities themselves: normalised weights would rank tokens otherwise. */
function placeNllb(
  options: NllbOptions,
  assigned: Assigned,
  { context, training }: StageCall,
): Tensor {
  const { numExperts, batchPrioritizedRouting = false } = options;
  const rule: CapacityRule = {
    per: "batch",
    order: batchPrioritizedRouting ? "prioritized" : "choice",
    places: (tokens) => nllbPlaces(options, training, tokens),
  };
  const weights = takeAlong(assigned.scores, assigned.indices, { axis: 1 });
  return capacityStage(rule, numExperts, context)({ ...assigned, weights });
}

/** How many tokens of the batch an expert takes: see {@link NllbOptions}. */
export function nllbPlaces(
  options: Omit<NllbOptions, "hiddenSize">,
  training: boolean,
  tokens: number,
): number {
  const { numExperts, expertCapacity = 64, moeEvalCapacityTokenFraction: fraction = 1 } = options;
  if (!training && fraction > 0) return Math.ceil(fraction * tokens);
  return expertCapacity ?? 2 * Math.ceil(tokens / numExperts);
}

function checkOptions({
  expertCapacity = 64,
  moeEvalCapacityTokenFraction: fraction = 1,
  secondExpertPolicy = "all",
}: NllbOptions): void {
  checkPolicy(secondExpertPolicy);
  if (expertCapacity !== null && !(Number.isSafeInteger(expertCapacity) && expertCapacity >= 1)) {
    throw refuseOption("expertCapacity", expertCapacity, "a whole number from 1, or null");
  }
  if (Number.isFinite(fraction)) return;
  throw refuseOption("moeEvalCapacityTokenFraction", fraction, "a finite number");
}
