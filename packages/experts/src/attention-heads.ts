import {
  ConfigError,
  type Tensor,
  attention,
  matmul,
  rope,
  rotaryFrequencies,
  rotaryTable,
  slice,
  transpose,
  writeSlice,
} from "@moiety/core";
import type {
  AttentionExpertsContext,
  AttentionExpertsOptions,
  AttentionExpertsParams,
  KeyValues,
} from "./attention-types.ts";

/** Rotates heads `[B, T, heads, D]` by their tokens' positions. */
export function turnOf(
  { ropeTheta, headDim }: AttentionExpertsOptions,
  { rotary, position = 0 }: AttentionExpertsContext,
  { backend, dtype }: Tensor,
  tokens: number,
): (heads: Tensor) => Tensor {
  if (ropeTheta === undefined) {
    if (!rotary) return (heads) => heads;
    throw new ConfigError(
      "these attention experts have no rotary positions; give the option ropeTheta",
      "ropeTheta",
      ropeTheta,
    );
  }
  const { cos, sin } =
    rotary ??
    rotaryTable(backend, {
      positions: Array.from({ length: tokens }, (_, index) => position + index),
      frequencies: rotaryFrequencies(headDim, ropeTheta),
      dtype: dtype === "f64" ? "f64" : "f32",
    });
  return (heads) => rope(heads, cos, sin);
}

/** Keys and values of `x [B, T, H]`, behind earlier ones where there is a cache. */
export function keysAndValues(
  { numKeyValueHeads, headDim }: AttentionExpertsOptions,
  { keyValue }: AttentionExpertsParams,
  x: Tensor,
  { cache, position = 0 }: AttentionExpertsContext,
  turn: (heads: Tensor) => Tensor,
): KeyValues & { readonly cache: KeyValues | undefined } {
  const [batch = 0, tokens = 0] = x.shape;
  const width = numKeyValueHeads * headDim;
  const both = matmul(x, keyValue, { transposeB: true });
  const half = (start: number): Tensor =>
    slice(both, { starts: [0, 0, start], sizes: [batch, tokens, width] }).reshape([
      batch,
      tokens,
      numKeyValueHeads,
      headDim,
    ]);
  const [keys, values] = [turn(half(0)), half(width)];
  if (!cache) return { keys, values, cache: undefined };
  const starts = [0, position, 0, 0];
  const longer = {
    keys: writeSlice(cache.keys, keys, { starts }),
    values: writeSlice(cache.values, values, { starts }),
  };
  return { ...longer, cache: longer };
}

/** Heads of a token lie expert by expert; the op wants those of one key head beside each other. */
export function attendByGroup(
  { numKeyValueHeads: groups, headDim, causal = true }: AttentionExpertsOptions,
  queries: Tensor,
  keys: Tensor,
  values: Tensor,
  { keyMask, position = 0 }: AttentionExpertsContext,
): Tensor {
  const [batch = 0, tokens = 0, heads = 0] = queries.shape;
  const swap = (x: Tensor, first: number, second: number): Tensor =>
    transpose(x.reshape([batch, tokens, first, second, headDim]), {
      permutation: [0, 1, 3, 2, 4],
    }).reshape(queries.shape);
  const choices = heads / groups;
  const attended = attention(swap(queries, choices, groups), keys, values, keyMask, undefined, {
    causal,
    scale: headDim ** -0.5,
    position,
  });
  return swap(attended, groups, choices);
}
