import {
  type FloatDType,
  type RoutingBase,
  type Tensor,
  add,
  arange,
  cast,
  countIds,
  div,
  full,
  greater,
  less,
  maximum,
  mul,
  segmentSum,
  select,
  sum,
} from "@moiety/core";

/** Over what a mean is taken. */
export type Extent = "batch" | "sequence";

/** Stretches of tokens, in order: the whole batch, or the sequences that have tokens. */
export interface Stretches {
  /** Tokens of each, padding included. */
  readonly lengths: readonly number[];
  /** Tokens of each, where all have as many. */
  readonly even: number | undefined;
}

/** The stretches of a routing. */
export function stretchesOf({ logits, sequences }: RoutingBase, extent: Extent): Stretches {
  const [tokens = 0] = logits.shape;
  const offsets = extent === "sequence" && sequences ? sequences : [0, tokens];
  const all = offsets.slice(1).map((end, index) => end - (offsets[index] ?? 0));
  const filled = all.filter((length) => length > 0);
  const lengths = filled.length > 0 ? filled : [0];
  const [first = 0] = lengths;
  return { lengths, even: lengths.every((length) => length === first) ? first : undefined };
}

/** Sums `values [T, n]` over the tokens of each stretch, padding left out: `[S, n]`. */
export function sumTokens(values: Tensor, { mask }: RoutingBase, stretches: Stretches): Tensor {
  const [tokens = 0, width = 0] = values.shape;
  const counted = mask ? select(mask.reshape([tokens, 1]), values, 0) : values;
  const { lengths, even } = stretches;
  if (even !== undefined) return sum(counted.reshape([lengths.length, even, width]), [1]);
  return segmentSum(counted, stretchOfToken(values, stretches), { segments: lengths.length });
}

/** Tokens of each stretch, padding left out: `[S, 1]`. */
export function countTokens(routing: RoutingBase, stretches: Stretches): Tensor {
  const { logits, mask } = routing;
  const dtype = floatOf(logits);
  const { lengths, even } = stretches;
  const shape = [lengths.length, 1];
  if (mask) {
    return sumTokens(cast(mask, { dtype }).reshape([mask.size, 1]), routing, stretches);
  }
  if (even !== undefined) return full(logits.backend, shape, even, dtype);
  return logits.backend.tensor([...lengths], { shape, dtype });
}

/**
 * Counts how often each expert stands in `indices [T, k]`, by stretch, padding and `E` left out:
 * `[S, E]` float. Without a gradient.
 */
export function countChoices(indices: Tensor, routing: RoutingBase, stretches: Stretches): Tensor {
  const { experts, mask, logits } = routing;
  const [tokens = 0, k = 0] = indices.shape;
  const count = stretches.lengths.length;
  const buckets = experts * count;
  const counted = mask ? select(mask.reshape([tokens, 1]), indices, experts) : indices;
  const placed =
    count === 1
      ? counted
      : select(
          less(counted, experts),
          add(counted, mul(stretchOfToken(indices, stretches).reshape([tokens, 1]), experts)),
          buckets,
        );
  const counts = countIds(placed.reshape([tokens * k]), buckets);
  return cast(counts, { dtype: floatOf(logits) }).reshape([count, experts]);
}

/** `values [S, n]` divided by `counts [S, 1]`; 0 where there is nothing to count. */
export function meanBy(values: Tensor, counts: Tensor): Tensor {
  return div(values, maximum(counts, 1));
}

/** The mean of `values [S]` over the stretches that have tokens beside padding. */
export function meanOfStretches(values: Tensor, tokens: Tensor): Tensor {
  const filled = cast(greater(tokens, 0), { dtype: floatOf(values) });
  return div(sum(values), maximum(sum(filled), 1));
}

/** The dtype of a float tensor. */
export function floatOf(tensor: Tensor): FloatDType {
  return tensor.dtype === "f64" ? "f64" : "f32";
}

/** `[T]` i32: the stretch of each token, ascending. */
function stretchOfToken({ backend, shape }: Tensor, { lengths, even }: Stretches): Tensor {
  const [tokens = 0] = shape;
  if (even !== undefined) return div(arange(backend, tokens), Math.max(even, 1));
  const ids = lengths.flatMap((length, id) => new Array<number>(length).fill(id));
  return backend.tensor(Int32Array.from(ids));
}
