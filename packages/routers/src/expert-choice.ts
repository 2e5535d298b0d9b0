import {
  type CapacitySpec,
  type ExpertChoice,
  type InitOptions,
  type Initialized,
  type RandomKey,
  type RouteContext,
  type Shape,
  type Tensor,
  type TokenChoice,
  atLeast,
  capacityOf,
  cast,
  checkCapacity,
  checkRouteContext,
  flattenTokens,
  constantParameter,
  greaterEqual,
  routeTokens,
  softmax,
} from "@moiety/core";
import { chooseTokens } from "./expert-choice-places.ts";
import { type ShapedRouter, routerParameter } from "./gate.ts";
import { drawKeys } from "./keys.ts";
import { type LinearGateParams, linearGate } from "./linear-gate.ts";
import { type RouterNoise, addFixedNoise, requireFixedNoise } from "./noise.ts";
import { refuseOption, requireWhole } from "./option.ts";

/** Options of {@link expertChoiceRouter}. */
export interface ExpertChoiceOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** Places C of an expert in each group: a number, or a factor of T/E. A factor of 2 unless given. */
  readonly capacity?: CapacitySpec["size"] | undefined;
  /** Whether experts choose from the whole batch (the default) or from each sequence. */
  readonly per?: CapacitySpec["per"] | undefined;
  /**
   * How tokens are routed outside training. `choose` (the default): as in training, which looks
   * across tokens. `threshold`: each token by itself, to the experts whose learned threshold its
   * score reaches; {@link thresholdController} learns them between steps.
   */
  readonly mode?: "choose" | "threshold" | undefined;
  /** With `threshold`: the most experts a token goes to, its best ones; E unless given. */
  readonly maxActive?: number | undefined;
  /** Added to the logits in training (V-MoE: Gaussian with deviation noise/E). */
  readonly noise?: RouterNoise | undefined;
  /** Whether the logits have a bias that is learned (flaxformer). False unless given. */
  readonly bias?: boolean | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** State of an expert-choice router. */
export interface ExpertChoiceState {
  /** `[E]`, with `mode: "threshold"`: what a score must reach. Starts from 1/E. */
  readonly thresholds?: Tensor | undefined;
}

/** A router whose experts choose tokens; with `threshold` it gives a token-choice outside training. */
export interface ExpertChoiceRouter extends ShapedRouter<LinearGateParams, ExpertChoiceState> {
  route(
    params: LinearGateParams,
    state: ExpertChoiceState,
    x: Tensor,
    context?: RouteContext,
  ): ExpertChoice | TokenChoice;
}

/**
 * Expert choice: p = softmax(x · Wᵀ) over experts, then each expert takes the C tokens with the
 * highest p of their group, and weighs its output with that p. Weights are not renormalised; a token
 * may have several experts or none; the load is even without a loss. Padding is not chosen: a place
 * that no token is left for stays empty, as do places beyond the length of a shorter group. A token
 * with NaN is chosen last: NaN where an expert takes it, and 0 where none does, like any token that
 * nobody takes. Nobody else is touched.
 *
 * Looks across tokens. In a causal model evaluate with `mode: "threshold"`.
 *
 * Papers: Zhou et al., "Mixture-of-Experts with Expert Choice Routing" (2022). Sources: vmoe
 * `nn/routing.py`, `NoisyTopItemsPerExpertRouter`; flaxformer `architectures/moe/routing.py`,
 * `ExpertsChooseMaskedRouter`, where padding can be chosen, with weight 0.
 * @throws ConfigError
 */
export function expertChoiceRouter(options: ExpertChoiceOptions): ExpertChoiceRouter {
  checkOptions(options);
  const { numExperts: experts, hiddenSize, mode = "choose", bias, initializerRange } = options;
  const gate = linearGate({ experts, inputSize: hiddenSize, bias, initializerRange });
  const stateShapes: Record<string, Shape> = mode === "threshold" ? { thresholds: [experts] } : {};
  return {
    experts,
    inputSize: hiddenSize,
    acrossTokens: true,
    shapes: gate.shapes,
    stateShapes,
    init(key: RandomKey, init: InitOptions): Initialized<LinearGateParams, ExpertChoiceState> {
      const state =
        mode === "threshold" ? { thresholds: constantParameter(1 / experts, [experts], init) } : {};
      return { params: gate.init(key, init), state };
    },
    route(params, state, x, context = {}) {
      const flat = atLeast(flattenTokens(x, hiddenSize), "f32");
      checkRouteContext(context, flat.shape[0] ?? 0);
      const { logits } = gate.forward(params, flat, context);
      if (mode === "threshold" && !context.training) {
        return routeByThreshold(options, logits, thresholdsOf(state, experts), context);
      }
      return routeByChoice(options, logits, context);
    },
  };
}

function routeByChoice(
  { numExperts: experts, capacity = { factor: 2 }, per = "batch", noise }: ExpertChoiceOptions,
  clean: Tensor,
  context: RouteContext,
): ExpertChoice {
  const added =
    noise && context.training
      ? addFixedNoise(clean, noise, context, drawKeys(context.key))
      : undefined;
  const logits = added ? added.noisy : clean;
  const scores = softmax(logits);
  const places = (length: number): number =>
    capacityOf({ size: capacity, per, order: "probability" }, length, 1, experts);
  return {
    kind: "expert-choice",
    experts,
    logits,
    scores,
    ...chooseTokens(scores, places, per === "sequence" ? context : { mask: context.mask }),
    mask: context.mask,
    sequences: context.sequences,
    noise: added?.noise,
  };
}

function routeByThreshold(
  { numExperts: experts, maxActive = experts }: ExpertChoiceOptions,
  logits: Tensor,
  thresholds: Tensor,
  context: RouteContext,
): TokenChoice {
  const scores = softmax(logits);
  const limits = cast(thresholds, { dtype: scores.dtype }).reshape([1, experts]);
  const allowed = greaterEqual(scores, limits);
  const routing = routeTokens(
    { experts, topK: maxActive, score: "softmax" },
    { logits, allowed },
    context,
  );
  return { ...routing, maxActive };
}

function thresholdsOf(state: ExpertChoiceState, experts: number): Tensor {
  const thresholds = routerParameter<ExpertChoiceState>(state, "thresholds", [experts]);
  return thresholds as Tensor;
}

function checkOptions(options: ExpertChoiceOptions): void {
  const { hiddenSize, numExperts, capacity = { factor: 2 }, per = "batch" } = options;
  const { mode = "choose", maxActive = 1, noise } = options;
  for (const [key, value] of Object.entries({ hiddenSize, numExperts, maxActive })) {
    requireWhole(key, value);
  }
  if (maxActive > numExperts) {
    throw refuseOption("maxActive", maxActive, `at most ${numExperts}, the number of experts`);
  }
  checkCapacity({ size: capacity, per, order: "probability" });
  const size = "absolute" in capacity ? capacity.absolute : capacity.factor;
  if (size === 0) throw refuseOption("capacity", JSON.stringify(capacity), "above 0");
  if (!["choose", "threshold"].includes(mode))
    throw refuseOption("mode", mode, "choose or threshold");
  requireFixedNoise(noise);
}
