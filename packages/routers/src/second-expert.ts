import {
  type Choice,
  type RouteAttributes,
  type RouteStages,
  type Selection,
  type Tensor,
  add,
  and,
  cast,
  concat,
  cumsum,
  equal,
  less,
  mul,
  notEqual,
  oneHot,
  onesLike,
  putAlong,
  renormalize,
  select,
  slice,
  stopGradient,
  takeAlong,
  topK,
  zeros,
} from "@moiety/core";
import { refuseOption } from "./option.ts";

/**
 * How a second expert is found: `all` takes the second best always; `random` keeps it with a
 * probability that grows with its weight; `sampling` draws it from the softmax without the first
 * expert (Gumbel noise on the logits).
 */
export type SecondExpertPolicy = "all" | "random" | "sampling";

/** Refuses an unknown policy. @throws ConfigError */
export function checkPolicy(policy: SecondExpertPolicy): void {
  if (["all", "random", "sampling"].includes(policy)) return;
  throw refuseOption("secondExpertPolicy", policy, "all, random or sampling");
}

/**
 * The best expert by score, and the best of the others by logit: `[T, 2]` i32. Gumbel numbers
 * `[T, E]`, where given, are added to the logits before the second choice.
 */
export function chooseTwo(
  { logits, scores, allowed }: Pick<Selection, "logits" | "scores" | "allowed">,
  gumbels?: Tensor,
): Tensor {
  const experts = logits.shape[1] ?? 0;
  const first = topK(scores, allowed, { k: 1 })[1];
  const others = notEqual(oneHot(first, experts, "i32").reshape(logits.shape), 1);
  const open = allowed ? and(allowed, others) : others;
  const second = topK(gumbels ? add(logits, gumbels) : logits, open, { k: 1 })[1];
  return concat(first, second, { axis: 1 });
}

/**
 * Choices `[T, k]` of which those behind the first stay where their draw (`[T, k]`, even in [0, 1))
 * is below their probability of being kept; the others become `E`.
 */
export function keepByChance(
  candidates: Tensor,
  probabilities: Tensor,
  draws: Tensor,
  experts: number,
): Tensor {
  const behind = (of: Tensor): Tensor =>
    slice(of, { starts: [0, 1], sizes: [of.shape[0] ?? 0, (of.shape[1] ?? 0) - 1] });
  const first = slice(candidates, { starts: [0, 0], sizes: [candidates.shape[0] ?? 0, 1] });
  const kept = less(behind(draws), behind(probabilities));
  return concat(first, select(kept, behind(candidates), experts), { axis: 1 });
}

/**
 * A weight stage for choices that chance may have taken away: weights are normalised as if every
 * choice had stayed (`spec.renormalize`, then `spec.scale`), and are 0 where one was taken.
 */
export const weighCandidates: NonNullable<RouteStages["weight"]> = (
  choice: Choice,
  spec: RouteAttributes,
): Tensor => {
  const { scores, indices } = choice;
  const weights = takeAlong(scores, candidatesOf(choice), { axis: 1, unique: true });
  const { renormalize: how } = spec;
  const normalized = how && how.when !== "after" ? renormalize(weights, how) : weights;
  const present = less(indices, scores.shape[1] ?? 0);
  return select(present, spec.scale === undefined ? normalized : mul(normalized, spec.scale), 0);
};

/** The choices, with the best of the experts left where one was taken away; all distinct. */
function candidatesOf({ scores, indices }: Pick<Choice, "scores" | "indices">): Tensor {
  const [tokens = 0, experts = 0] = scores.shape;
  const { backend } = scores;
  const empty = zeros(backend, [tokens, experts], "i32");
  const taken = putAlong(empty, indices, onesLike(indices), { axis: 1 });
  const k = indices.shape[1] ?? 0;
  const left = topK(stopGradient(scores), notEqual(taken, 1), { k })[1];
  const missing = cast(equal(indices, experts), { dtype: "i32" });
  const rank = cumsum(missing, { axis: 1, exclusive: true });
  return select(less(indices, experts), indices, takeAlong(left, rank, { axis: 1 }));
}
