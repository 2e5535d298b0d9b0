import {
  type Choice,
  type RouteAttributes,
  type Tensor,
  arange,
  less,
  min,
  select,
  weighChoices,
} from "@moiety/core";

/**
 * The built-in weight stage for choices among which whole tokens may have no expert: their weights
 * are 0, and neither the weights nor their gradient divide 0 by 0.
 */
export function weighPresent({ logits, scores, indices }: Choice, spec: RouteAttributes): Tensor {
  const [tokens = 0, k = 0] = indices.shape;
  if (tokens === 0) return weighChoices({ logits, scores, indices }, spec);
  const filled = less(min(indices, [-1], true), logits.shape[1] ?? 0);
  // Any experts do for tokens that have none: what comes of them is left out.
  const stand = arange(indices.backend, k).reshape([1, k]);
  const safe = select(filled, indices, stand);
  return select(filled, weighChoices({ logits, scores, indices: safe }, spec), 0);
}

/** `indices [T, k]` where `present [T]` is true, and no expert elsewhere. */
export function onlyWhere(present: Tensor, indices: Tensor, experts: number): Tensor {
  return select(present.reshape([present.size, 1]), indices, experts);
}
