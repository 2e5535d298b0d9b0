import {
  type AttentionAttributes,
  type Tensor,
  add,
  and,
  broadcast,
  concat,
  greater,
  greaterEqual,
  iota,
  logSumExp,
  matmul,
  mul,
  select,
  transpose,
} from "@moiety/core";
import type { AttentionTensors } from "./l4-attention.ts";

/** What a score counts as that is not seen: its power is 0 beside any other. */
const HIDDEN = -1e30;

/**
 * The residual of `attention` by the book: the logarithm of the softmax's denominator of each query
 * that sees a key or has a sink, `[B, Hq, Tq]`.
 */
export function logSumExpOf(
  { q, k, mask, sinks }: Omit<AttentionTensors, "v">,
  { causal, position, scale, window }: AttentionAttributes,
): Tensor {
  const [batch = 0, queries = 0, heads = 0, width = 0] = q.shape;
  const [, keys = 0, keyHeads = 1] = k.shape;
  const group = heads / keyHeads;
  const headFirst = (x: Tensor): Tensor => transpose(x, { permutation: [0, 2, 1, 3] });
  const grouped = headFirst(q).reshape([batch, keyHeads, group, queries, width]);
  const products = matmul(grouped, headFirst(k).reshape([batch, keyHeads, 1, keys, width]), {
    transposeB: true,
  });
  let scores = mul(products, scale).reshape([batch, heads, queries, keys]);
  if (causal) {
    const query = iota(q.backend, { shape: [queries, 1], axis: 0, dtype: "i32" });
    const key = iota(q.backend, { shape: [1, keys], axis: 1, dtype: "i32" });
    const past = greaterEqual(add(query, position), key);
    const near = window !== undefined && window < keys;
    const seen = near ? and(past, greater(key, add(query, position - window))) : past;
    scores = select(seen, scores, HIDDEN);
  }
  if (mask) scores = select(mask.reshape([batch, 1, 1, keys]), scores, HIDDEN);
  if (!sinks) return logSumExp(scores);
  const column = broadcast(sinks.reshape([1, heads, 1, 1]), { shape: [batch, heads, queries, 1] });
  return logSumExp(concat(scores, column, { axis: 3 }));
}
