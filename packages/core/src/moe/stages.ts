import {
  add,
  and,
  div,
  equal,
  less,
  maximum,
  mul,
  pow,
  select,
  sigmoid,
  softplus,
  sqrt,
  tanh,
} from "../ops/arithmetic.ts";
import { fill, zeros } from "../ops/creation.ts";
import { broadcast } from "../ops/elementwise.ts";
import { putAlong, takeAlong } from "../ops/gather.ts";
import { sum } from "../ops/reduction.ts";
import { softmax } from "../ops/softmax.ts";
import { topK } from "../ops/sort.ts";
import { type Tensor, stopGradient } from "../tensor.ts";
import type { GroupLimit, Renormalization, RouteSpec } from "./spec.ts";

/** The part of a {@link RouteSpec} that turns logits into choices and weights. */
export type RouteAttributes = Omit<RouteSpec, "capacity" | "site" | "experts">;

/** What the select stage sees. All untraced: a choice has no gradient. */
export interface Selection {
  /** `[T, E]` after temperature and softcap. */
  readonly logits: Tensor;
  /** `[T, E]`. */
  readonly scores: Tensor;
  /** `[E]`, added for selection only. */
  readonly bias?: Tensor | undefined;
  /** `[T, E]` bool: false where an expert may not be chosen. */
  readonly allowed?: Tensor | undefined;
}

/** What the weight stage sees. */
export interface Choice {
  /** `[T, E]` after temperature and softcap. */
  readonly logits: Tensor;
  /** `[T, E]`. */
  readonly scores: Tensor;
  /** `[T, k]` i32; `E` means no expert. */
  readonly indices: Tensor;
}

/** Stages of your own: functions of tensors, each in the place of the built-in one of its name. */
export interface RouteStages {
  /** `logits [T, E]`, after temperature and softcap → scores `[T, E]`. */
  readonly score?: ((logits: Tensor, spec: RouteAttributes) => Tensor) | undefined;
  /** → `[T, k]` i32, with the experts of a token distinct; `E` means no expert. */
  readonly select?: ((selection: Selection, spec: RouteAttributes) => Tensor) | undefined;
  /** → `[T, k]` weights, renormalised and scaled as they shall be before capacity. */
  readonly weight?: ((choice: Choice, spec: RouteAttributes) => Tensor) | undefined;
  /**
   * In the place of {@link applyCapacity}; runs whether or not the spec has a capacity. → `[T, k]`
   * i32: what finds a place, `E` where nothing does.
   */
  readonly capacity?: ((assigned: Assigned) => Tensor) | undefined;
}

/** What the capacity stage sees. All untraced. */
export interface Assigned extends Choice {
  /** `[T, k]`, 0 where there is no expert. */
  readonly weights: Tensor;
}

/**
 * Token-choice routing stage by stage: the definition of the op `routeTopK`. Gradients flow through
 * scores and weights; the choice is made outside any gradient.
 */
export function runStages(
  spec: RouteAttributes,
  { logits, bias, allowed }: Omit<Selection, "scores">,
  stages: RouteStages = {},
): [scores: Tensor, indices: Tensor, weights: Tensor] {
  const squashed = squashLogits(logits, spec);
  const scores = stages.score ? stages.score(squashed, spec) : scoreTokens(squashed, spec);
  const selection = {
    logits: stopGradient(squashed),
    scores: stopGradient(scores),
    bias: bias && stopGradient(bias),
    allowed,
  };
  const indices = stages.select ? stages.select(selection, spec) : selectExperts(selection, spec);
  const choice = { logits: squashed, scores, indices };
  const weights = stages.weight ? stages.weight(choice, spec) : weighChoices(choice, spec);
  return [scores, indices, weights];
}

/** Temperature, then softcap. */
export function squashLogits(
  logits: Tensor,
  { temperature, softcap }: Pick<RouteAttributes, "temperature" | "softcap">,
): Tensor {
  const warm = temperature === undefined || temperature === 1 ? logits : div(logits, temperature);
  return softcap === undefined ? warm : mul(tanh(div(warm, softcap)), softcap);
}

/** The built-in score stage: `[T, E]` → `[T, E]`. */
export function scoreTokens(logits: Tensor, { score }: RouteAttributes): Tensor {
  switch (score) {
    case "softmax":
      return softmax(logits);
    case "sigmoid":
      return sigmoid(logits);
    case "sqrtSoftplus":
      return sqrt(softplus(logits));
    case "identity":
      return logits;
  }
}

/**
 * The built-in select stage: the k best by (score or logit, plus bias) within the best groups, ties
 * to the lower index → `[T, k]` i32. A token with fewer allowed experts gets `E` in the other places.
 */
export function selectExperts(
  { logits, scores, bias, allowed }: Selection,
  spec: RouteAttributes,
): Tensor {
  const compared = spec.selectBy === "logits" ? logits : scores;
  const biased = bias ? add(compared, bias) : compared;
  const { topK: k, groups } = spec;
  const open = groups && groupMask(biased, groups);
  const selection = open && groups?.fill === "zero" ? select(open, biased, 0) : biased;
  const within = groups?.fill === "mask" ? open : undefined;
  const mask = allowed && within ? and(allowed, within) : (allowed ?? within);
  const chosen = topK(selection, mask, { k })[1];
  // Open groups alone have room for k: the spec was checked.
  if (!allowed || !mask) return chosen;
  return select(takeAlong(mask, chosen, { axis: 1 }), chosen, allowed.shape[1] ?? 0);
}

/** `[T, E]` bool: which experts belong to a token's best groups. */
function groupMask(selection: Tensor, groups: GroupLimit): Tensor {
  const [tokens = 0, experts = 0] = selection.shape;
  const size = experts / groups.count;
  const grouped = selection.reshape([tokens, groups.count, size]);
  const best = groups.score === "max" ? 1 : Math.min(groups.score.top, size);
  const scores = sum(topK(grouped, undefined, { k: best })[0], [-1]);
  const chosen = topK(scores, undefined, { k: groups.topK })[1];
  const { backend } = selection;
  const ones = fill(backend, { shape: chosen.shape, value: 1, dtype: "i32" });
  const marks = putAlong(zeros(backend, scores.shape, "i32"), chosen, ones, { axis: 1 });
  const open = equal(marks, 1).reshape([tokens, groups.count, 1]);
  return broadcast(open, { shape: grouped.shape }).reshape([tokens, experts]);
}

/** The built-in weight stage: weights of the chosen `[T, k]`, 0 where there is no expert. */
export function weighChoices({ logits, scores, indices }: Choice, spec: RouteAttributes): Tensor {
  const raw = chosenWeights({ logits, scores, indices }, spec);
  // What is normalised after capacity is scaled after it too.
  if (spec.renormalize?.when === "after") return raw;
  const normalized = spec.renormalize ? renormalize(raw, spec.renormalize) : raw;
  return spec.scale === undefined || spec.scale === 1 ? normalized : mul(normalized, spec.scale);
}

function chosenWeights({ logits, scores, indices }: Choice, spec: RouteAttributes): Tensor {
  const chosen = (of: Tensor): Tensor => takeAlong(of, indices, { axis: 1, unique: true });
  const present = (): Tensor => less(indices, logits.shape[1] ?? 0);
  switch (spec.weight) {
    case "softmaxOfChosen":
      return softmax(chosen(logits), present());
    case "sigmoidOfChosen":
      return select(present(), sigmoid(chosen(logits)), 0);
    default:
      return chosen(scores);
  }
}

/** Divides weights by their norm over the last axis. */
export function renormalize(weights: Tensor, how: Renormalization): Tensor {
  const k = weights.shape.at(-1) ?? 0;
  if (how.skipSingle && k === 1) return weights;
  const p = how.p ?? 1;
  const norm = p === 1 ? sum(weights, [-1], true) : pow(sum(pow(weights, p), [-1], true), 1 / p);
  if (how.epsilon === undefined) return div(weights, norm);
  const epsilon = how.epsilon === "machine" ? machineEpsilon(weights) : how.epsilon;
  return div(weights, how.guard === "max" ? maximum(norm, epsilon) : add(norm, epsilon));
}

function machineEpsilon(tensor: Tensor): number {
  return tensor.dtype === "f64" ? 2 ** -52 : 2 ** -23;
}
