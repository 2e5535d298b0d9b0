import {
  type RoutingBase,
  type Tensor,
  type TokenChoice,
  add,
  div,
  less,
  mul,
  putAlong,
  select,
  slice,
  softmax,
  stopGradient,
  sub,
  sum,
  topK,
  zeros,
} from "@moiety/core";
import {
  type Extent,
  countChoices,
  countTokens,
  floatOf,
  meanBy,
  meanOfStretches,
  stretchesOf,
  sumTokens,
} from "./statistics.ts";
import { type Target, sumOverTarget } from "./target.ts";

/** What a loss counts: what the router selected, before dropping, or the plain best scores. */
export type Counted = "selected" | "plain";

/** What a loss takes for probabilities: the scores divided by their sum, or a softmax of the logits. */
export type Probabilities = "scores" | "softmax";

/** The two factors of a balance loss, and how they meet. */
export interface LoadProduct {
  readonly routing: TokenChoice;
  /** `[T, n]` i32: the choices that are counted; `E` counts nowhere. */
  readonly chosen: Tensor;
  /** `[T, E]`. */
  readonly probabilities: Tensor;
  /** Over what the means are taken; those of sequences are averaged. */
  readonly per: Extent;
  /**
   * What counts are divided by: `assignments`, that is their sum, or the number of tokens times a
   * number.
   */
  readonly over: "assignments" | number;
  readonly target: Target | undefined;
  /** Whether shares are rounded to float32 in a float64 run too. */
  readonly roundShares?: boolean | undefined;
}

/**
 * The form that most balance losses share: Σ_e f_e · P_e / q_e, with f_e the share of what is counted
 * that went to e, P_e its mean probability and q_e its target (1/E unless given, which makes it
 * E · Σ_e f_e · P_e). A scalar; f is a constant for the gradient.
 */
export function loadProduct(name: string, product: LoadProduct): Tensor {
  const { routing, chosen, probabilities, per, over, target } = product;
  const stretches = stretchesOf(routing, per);
  const tokens = countTokens(routing, stretches);
  const counted = countChoices(chosen, routing, stretches);
  const whole =
    over === "assignments" ? sum(counted, [1], true) : over === 1 ? tokens : mul(tokens, over);
  const exact = meanBy(counted, whole);
  const share = product.roundShares ? roundToFloat32(exact) : exact;
  const mean = meanBy(sumTokens(probabilities, routing, stretches), tokens);
  const values = sumOverTarget(name, mul(share, mean), target, routing.experts);
  return meanOfStretches(values, tokens);
}

/** `[T, E]`: what a loss takes for probabilities. */
export function probabilitiesOf(
  { logits, scores }: Pick<RoutingBase, "logits" | "scores">,
  kind: Probabilities,
): Tensor {
  return kind === "softmax" ? softmax(logits) : normalized(scores);
}

/** `[T, k]` i32: what a loss counts, in the order of choices. */
export function choicesOf(routing: TokenChoice, counted: Counted): Tensor {
  if (counted === "selected") return routing.selected;
  return topK(stopGradient(routing.scores), undefined, { k: routing.selected.shape[1] ?? 0 })[1];
}

/** `[T, 1]` i32: the first of the choices `[T, k]`. */
export function firstOf(choices: Tensor): Tensor {
  const [tokens = 0, k = 0] = choices.shape;
  return k === 1 ? choices : slice(choices, { starts: [0, 0], sizes: [tokens, 1] });
}

/**
 * `[T, E]`: each token's weights at the experts of `indices [T, k]`, 0 elsewhere, whether they apply
 * to inputs or to outputs.
 */
export function gatesAt(indices: Tensor, routing: TokenChoice): Tensor {
  const { inputWeights, outputWeights, experts } = routing;
  // One of the two is 1. Both have a gradient only where the inputs' is straight-through.
  const weights =
    inputWeights === undefined
      ? outputWeights
      : outputWeights.traced
        ? mul(outputWeights, stopGradient(inputWeights))
        : mul(inputWeights, outputWeights);
  const empty = zeros(weights.backend, [indices.shape[0] ?? 0, experts], floatOf(weights));
  return putAlong(empty, indices, weights, { axis: 1 });
}

/** Choices with those that found no place put down to expert 0, as an argmax of zeros does. */
export function droppedToFirst(indices: Tensor, experts: number): Tensor {
  return select(less(indices, experts), indices, 0);
}

/** Scores divided by their sum; all-zero scores stay zero (Megatron-LM adds the same 1e-20). */
function normalized(scores: Tensor): Tensor {
  return div(scores, add(sum(scores, [-1], true), 1e-20));
}

/** Values rounded to float32's 24 bits, in float64 too: Veltkamp's splitting. */
function roundToFloat32(x: Tensor): Tensor {
  if (x.dtype !== "f64") return x;
  const scaled = mul(x, 2 ** 29 + 1);
  return sub(scaled, sub(scaled, x));
}
