import {
  type RouteSpec,
  type Tensor,
  type TokenChoice,
  add,
  greater,
  less,
  oneHot,
  routeTokens,
  select,
  sum,
} from "@moiety/core";

/** What a block's recorded tensors beside output and gradients are made of. */
export interface BlockRouting {
  readonly routing: TokenChoice;
  readonly spec: RouteSpec;
  /** `[E]`, where the router has one. */
  readonly selectionBias: Tensor | undefined;
}

/**
 * The routing of logits without capacity: families record the experts and weights of dropped tokens,
 * too.
 */
export function beforeDropping(
  spec: RouteSpec,
  {
    logits,
    selectionBias,
  }: { readonly logits: Tensor; readonly selectionBias: Tensor | undefined },
): TokenChoice {
  const { capacity: _, ...dropless } = spec;
  return routeTokens(dropless, { logits, bias: selectionBias });
}

/** Tensors that only some families record, by name. */
export const blockTensors: Readonly<Record<string, (from: BlockRouting) => Tensor>> = {
  /** Switch: `[B, T, E]`, 1 where a token found its place with an expert. */
  dispatch_mask: ({ routing: { indices, experts } }) => sum(oneHot(indices, experts, "i32"), [1]),
  /** Switch: `[B, T]` the expert of each token, 0 for one that was dropped. */
  expert_index_returned: ({ routing: { indices, experts, sequences = [0, indices.size] } }) =>
    select(less(indices, experts), indices, 0).reshape([sequences.length - 1, -1]),
  router_logits: ({ routing }) => routing.logits,
  router_probs: ({ routing }) => routing.scores,
  /** DeepSeek-V3: what the choice compares, with 0 in the groups that are not among the best. */
  scores_for_choice({ routing: { scores, logits }, spec, selectionBias }) {
    const biased = selectionBias ? add(scores, selectionBias) : scores;
    if (spec.groups === undefined) return biased;
    // A choice of as many experts as the best groups have finds all of theirs.
    const topK = (spec.groups.topK * spec.experts) / spec.groups.count;
    const all = { ...spec, topK, groups: { ...spec.groups, fill: "mask" as const } };
    const { selected } = beforeDropping(all, { logits, selectionBias });
    return select(greater(sum(oneHot(selected, spec.experts, "i32"), [1]), 0), biased, 0);
  },
};
