import {
  type Renormalization,
  type RouteSpec,
  type RouteStages,
  type Tensor,
  type TokenChoice,
  customGradient,
  div,
  onesLike,
  renormalize,
  selectExperts,
  takeAlong,
} from "@moiety/core";
import { capacityStage } from "./capacity-stage.ts";
import { changeRouting } from "./change-routing.ts";
import { stageDraws } from "./draws.ts";
import { type LinearRouter, linearRouter } from "./linear-router.ts";
import { gumbelNoise } from "./noise.ts";
import { refuseOption } from "./option.ts";
import { keepByChance, weighCandidates } from "./second-expert.ts";
import type { StageCall } from "./staged-router.ts";

/** Options of {@link stMoeRouter}, by the names of st-moe-pytorch. */
export interface StMoeOptions {
  /** H (`dim`). */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** k, at least 2; 2 unless given. */
  readonly gatingTopN?: number | undefined;
  /**
   * A choice behind the first is kept with probability min(1, weight / threshold): one number, or one
   * for each choice behind the first. 0.2 unless given.
   */
  readonly thresholdTrain?: number | readonly number[] | undefined;
  /** The same outside training, where `chanceInEval` is true. */
  readonly thresholdEval?: number | readonly number[] | undefined;
  /** Whether choices are dropped by chance outside training too, as in the source. False unless given. */
  readonly chanceInEval?: boolean | undefined;
  /** Places of an expert in a sequence of T tokens: ⌊T · factor / E⌋, at least 4. 1.25 unless given. */
  readonly capacityFactorTrain?: number | undefined;
  /** The same outside training; 2 unless given. */
  readonly capacityFactorEval?: number | undefined;
  /**
   * Whether dispatch has a gradient too: the experts' inputs are multiplied by 1, with the gradient
   * of the weights. True unless given.
   */
  readonly straightThrough?: boolean | undefined;
  /** Factor of Gumbel noise on the logits in training (`noise_gates`, `noise_mult`). None unless given. */
  readonly noiseMult?: number | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** Weights are divided by their sum, at least 1e-9. */
const NORMALIZED: Renormalization = { epsilon: 1e-9, guard: "max" };

/** Places that every expert has at least. */
const MINIMUM_PLACES = 4;

/** ST-MoE's stages as data, without chance; the capacity is the one of training. */
export function stMoeSpec({
  numExperts,
  gatingTopN = 2,
  capacityFactorTrain = 1.25,
}: Pick<StMoeOptions, "numExperts" | "gatingTopN" | "capacityFactorTrain">): RouteSpec {
  return {
    experts: numExperts,
    topK: gatingTopN,
    score: "softmax",
    renormalize: NORMALIZED,
    capacity: {
      size: {
        factor: capacityFactorTrain / gatingTopN,
        rounding: "floor",
        minimum: MINIMUM_PLACES,
      },
      per: "sequence",
      order: "choice",
    },
  };
}

/**
 * ST-MoE's router as st-moe-pytorch has it: p = softmax(x · Wᵀ); weights of the n best divided by
 * their sum before anything is dropped; every choice behind the first kept with probability min(1,
 * weight / threshold); places by choice, then by position, in each sequence. Weights of what was
 * dropped are 0, the others stay.
 *
 * The source's dispatch tensor is straight-through, `d + c − stop(c)` with combine weights c: its
 * value is d, and the gradient that arrives at a dispatched input reaches the weight. Where gradients
 * are recorded, the routing's `inputWeights` are just that: 1, with the gradient of `outputWeights`.
 *
 * Chance needs `context.key`, or evenly drawn `context.noise [T, k]` (its first column decides
 * nothing). Looks across tokens: places.
 *
 * Paper: Zoph et al., "ST-MoE" (2022). Source: lucidrains/st-moe-pytorch `TopNGating`.
 * @throws ConfigError
 */
export function stMoeRouter(options: StMoeOptions): LinearRouter {
  const { gatingTopN = 2, straightThrough = true, noiseMult } = options;
  if (!(gatingTopN >= 2)) throw refuseOption("gatingTopN", gatingTopN, "a whole number from 2");
  for (const training of [true, false]) checkFactor(options, training);
  const thresholds = {
    train: thresholdsOf("thresholdTrain", options.thresholdTrain, gatingTopN),
    eval: thresholdsOf("thresholdEval", options.thresholdEval, gatingTopN),
  };
  const router = linearRouter({
    inputSize: options.hiddenSize,
    spec: stMoeSpec(options),
    noise: noiseMult === undefined ? undefined : gumbelNoise(noiseMult),
    stages: (call) => ({
      ...chanceStages(call, options, call.training ? thresholds.train : thresholds.eval),
      capacity: capacityStage(
        {
          per: "sequence",
          order: "choice",
          places: (tokens) => placesOf(options, call.training, tokens),
        },
        options.numExperts,
        call.context,
      ),
    }),
    initializerRange: options.initializerRange,
  });
  return straightThrough ? changeRouting(router, withDispatchGradient) : router;
}

/** Input weights of 1 that pass their gradient to the output weights, where one is recorded. */
function withDispatchGradient(routing: TokenChoice): TokenChoice {
  const { outputWeights } = routing;
  if (!outputWeights.traced) return routing;
  const [inputWeights] = customGradient((weights: Tensor) => ({
    outputs: [onesLike(weights)] as const,
    gradient: ([gradient]) => [gradient],
  }))(outputWeights);
  return { ...routing, inputWeights };
}

function chanceStages(
  call: StageCall,
  { numExperts, chanceInEval = false }: StMoeOptions,
  thresholds: readonly number[],
): RouteStages {
  if (!call.training && !chanceInEval) return {};
  return {
    select(selection, spec) {
      const { scores } = selection;
      const chosen = selectExperts(selection, spec);
      const weights = renormalize(takeAlong(scores, chosen, { axis: 1 }), NORMALIZED);
      const limits = scores.backend.tensor([1, ...thresholds], {
        shape: [1, chosen.shape[1] ?? 0],
        dtype: scores.dtype,
      });
      const draws = stageDraws(call, "uniform", chosen.shape, scores);
      return keepByChance(chosen, div(weights, limits), draws, numExperts);
    },
    weight: weighCandidates,
  };
}

/** The source's rule, rounding included: max(4, min(T, ⌊T · factor / E⌋)). */
function placesOf(options: StMoeOptions, training: boolean, tokens: number): number {
  const factor = factorOf(options, training);
  const even = Math.floor((tokens * factor) / options.numExperts);
  return Math.max(MINIMUM_PLACES, Math.min(tokens, even));
}

function factorOf(options: StMoeOptions, training: boolean): number {
  return training ? (options.capacityFactorTrain ?? 1.25) : (options.capacityFactorEval ?? 2);
}

function checkFactor(options: StMoeOptions, training: boolean): void {
  const factor = factorOf(options, training);
  if (factor >= 0 && Number.isFinite(factor)) return;
  const key = training ? "capacityFactorTrain" : "capacityFactorEval";
  throw refuseOption(key, factor, "a finite number from 0");
}

/** A threshold for each choice behind the first, at least 1e-9 as in the source. */
function thresholdsOf(
  key: string,
  given: number | readonly number[] = 0.2,
  topN: number,
): readonly number[] {
  const list = typeof given === "number" ? new Array<number>(topN - 1).fill(given) : given;
  const valid = list.length === topN - 1 && list.every((one) => one >= 0 && Number.isFinite(one));
  if (valid) return list.map((one) => Math.max(one, 1e-9));
  throw refuseOption(key, given, `a number from 0, or one for each of ${topN - 1} choices`);
}
