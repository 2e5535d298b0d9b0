import {
  type Tensor,
  and,
  equal,
  full,
  onesLike,
  putAlong,
  select,
  takeAlong,
  topK,
  transpose,
  zeros,
} from "@moiety/core";

/**
 * DeepSpeed's drop policy `probs`: each expert keeps those of its tokens that are among the `places`
 * largest of its column of logits, in which tokens that did not choose it stand with 0. `indices
 * [T, k]` i32, `logits [T, E]` → `[T, k]` with the others set to `E`. Masked tokens come last and are
 * dropped; equals go by position.
 *
 * Source: microsoft/DeepSpeed `sharded_moe.py`, `topkgating`.
 */
export function keepLargestLogits(
  indices: Tensor,
  logits: Tensor,
  places: number,
  mask: Tensor | undefined,
): Tensor {
  const [tokens = 0, experts = 0] = logits.shape;
  const { backend, dtype } = logits;
  const own = takeAlong(logits, indices, { axis: 1 });
  const chosen = putAlong(zeros(backend, logits.shape, dtype), indices, own, { axis: 1 });
  const columns = transpose(chosen, { permutation: [1, 0] });
  const rows = mask?.reshape([1, tokens]);
  const open = rows && and(full(backend, [experts, tokens], 1, "bool"), rows);
  const best = topK(columns, open, { k: Math.min(places, tokens) })[1];
  const empty = zeros(backend, [experts, tokens], "i32");
  const marks = transpose(putAlong(empty, best, onesLike(best), { axis: 1 }), {
    permutation: [1, 0],
  });
  const kept = equal(takeAlong(marks, indices, { axis: 1 }), 1);
  const placed = select(kept, indices, experts);
  return mask ? select(mask.reshape([tokens, 1]), placed, experts) : placed;
}
