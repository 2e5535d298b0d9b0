import type { TensorSpec } from "../contract.ts";
import { pullBack } from "../gradient.ts";
import { type Op, defineOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { and, lessEqual, mul } from "./arithmetic.ts";
import {
  type Specs,
  FLOATS,
  requireDType,
  requireFinite,
  requireOneDType,
  requireRank,
  requireShape,
  requireWhole,
  shapeError,
} from "./checks.ts";
import { iota, zerosLike } from "./creation.ts";
import { apply } from "./elementwise.ts";
import { slice } from "./layout.ts";
import { matmul } from "./matmul.ts";
import { softmax } from "./softmax.ts";
import { transpose } from "./transpose.ts";

/** Attributes of {@link attention}. */
export interface AttentionAttributes {
  /** A query sees no key behind itself. */
  readonly causal: boolean;
  /** Factor of the products of queries and keys, usually D^(−½). */
  readonly scale: number;
  /** Index of the first query among the keys. Matters only when causal. */
  readonly position: number;
}

type AttentionInputs = [q: Tensor, k: Tensor, v: Tensor, mask?: Tensor];

/**
 * Attention with grouped queries: `q [B, Tq, Hq, D]`, `k [B, Tk, Hkv, D]`, `v [B, Tk, Hkv, Dv]` float,
 * optional `mask [B, Tk]` bool (false: nobody sees this key) → `[B, Tq, Hq, Dv]`. Hq is a multiple n
 * of Hkv; query head h uses key head ⌊h/n⌋.
 *
 * `softmax(scale · q·kᵀ) · v` over the keys that a query sees: those of the mask and, when `causal`,
 * keys j ≤ position + i for query i. So a key-value cache of fixed capacity needs no mask for its
 * unused end. A query that sees no key gets zeros. `position + Tq` ≤ Tk when causal.
 *
 * Residual: the logarithm of the softmax's denominator `[B, Hq, Tq]` (0 where no key is seen).
 */
export const attention: Op<AttentionInputs, AttentionAttributes, Tensor, [logSumExp: Tensor]> =
  /*#__PURE__*/ defineOp<AttentionInputs, AttentionAttributes, Tensor, [logSumExp: Tensor]>({
    name: "attention",
    inputs: ["q", "k", "v", "mask?"],
    dynamic: ["scale", "position"],
    infer([q, k, v, mask], attributes) {
      return requireAttention("attention", q, k, v, mask, attributes);
    },
    residuals: ([q]) => [logSumExpOf(q)],
    gradient({
      inputs,
      outputs: [output],
      residuals: [logSumExp],
      gradients: [gradient],
      attributes,
    }) {
      if (!gradient) return [];
      const [q, k, v, mask] = inputs;
      return attentionBackward(q, k, v, output, logSumExp, gradient, mask, attributes);
    },
    backward: () => attentionBackward,
    decompose: ([q, k, v, mask], attributes) => attend(q, k, v, mask, attributes),
  });

/**
 * Gradients of {@link attention} with respect to q, k and v, from its inputs, its output, its
 * residual and the gradient of its output.
 */
export const attentionBackward: Op<
  [
    q: Tensor,
    k: Tensor,
    v: Tensor,
    output: Tensor,
    logSumExp: Tensor,
    gradient: Tensor,
    mask?: Tensor,
  ],
  AttentionAttributes,
  [q: Tensor, k: Tensor, v: Tensor]
> = /*#__PURE__*/ defineOp({
  name: "attentionBackward",
  inputs: ["q", "k", "v", "output", "logSumExp", "gradient", "mask?"],
  outputs: ["q", "k", "v"],
  dynamic: ["scale", "position"],
  infer([q, k, v, output, logSumExp, gradient, mask], attributes) {
    const op = "attentionBackward";
    const inputs = [q, k, v, output, logSumExp, gradient];
    requireOneDType(op, inputs, FLOATS);
    const { shape } = requireAttention(op, q, k, v, mask, attributes);
    requireShape(op, "output", output, shape, inputs);
    requireShape(op, "gradient", gradient, shape, inputs);
    requireShape(op, "logSumExp", logSumExp, logSumExpOf(q).shape, inputs);
    return [q, k, v];
  },
  decompose([q, k, v, , , gradient, mask], attributes) {
    const [dq, dk, dv] = pullBack(
      [q, k, v],
      (...[a, b, c]) => [attend(a as Tensor, b as Tensor, c as Tensor, mask, attributes)],
      [gradient],
    );
    return [dq ?? zerosLike(q), dk ?? zerosLike(k), dv ?? zerosLike(v)];
  },
});

/** Heads become batch dimensions, so that two batched products do all the work. */
function attend(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  mask: Tensor | undefined,
  { causal, scale, position }: AttentionAttributes,
): Tensor {
  const [batch = 0, queries = 0, heads = 0, width = 0] = q.shape;
  const [, capacity = 0, keyHeads = 0] = k.shape;
  const valueWidth = v.shape[3] ?? 0;
  const group = keyHeads === 0 ? 0 : heads / keyHeads;
  const keys = causal ? Math.min(capacity, position + queries) : capacity;
  const seen = (x: Tensor): Tensor =>
    keys === capacity
      ? x
      : slice(x, { starts: x.shape.map(() => 0), sizes: x.shape.with(1, keys) });
  const headFirst = (x: Tensor): Tensor => transpose(seen(x), { permutation: [0, 2, 1, 3] });
  const grouped = transpose(mul(q, scale).reshape([batch, queries, keyHeads, group, width]), {
    permutation: [0, 2, 3, 1, 4],
  }).reshape([batch, keyHeads, group * queries, width]);
  const scores = matmul(grouped, headFirst(k), { transposeB: true });
  const weights = softmax(
    scores.reshape([batch, keyHeads, group, queries, keys]),
    visible(q, mask && seen(mask), queries, keys, causal ? position : undefined),
  ).reshape(scores.shape);
  return transpose(
    matmul(weights, headFirst(v)).reshape([batch, keyHeads, group, queries, valueWidth]),
    { permutation: [0, 3, 1, 2, 4] },
  ).reshape([batch, queries, heads, valueWidth]);
}

/** Which keys a query sees, in a shape that broadcasts to `[B, Hkv, n, Tq, Tk]`. */
function visible(
  { backend }: Tensor,
  mask: Tensor | undefined,
  queries: number,
  keys: number,
  position: number | undefined,
): Tensor | undefined {
  const masked = mask?.reshape([mask.shape[0] ?? 0, 1, 1, 1, keys]);
  // One query at the end sees everything.
  if (position === undefined || queries === 1) return masked;
  const places = (shape: readonly [number, number], axis: number): Tensor =>
    iota(backend, { shape, axis, dtype: "i32" });
  const past = lessEqual(places([1, keys], 1), apply("add", places([queries, 1], 0), position));
  return masked ? and(masked, past) : past;
}

function logSumExpOf(q: TensorSpec): TensorSpec {
  const [batch = 0, queries = 0, heads = 0] = q.shape;
  return { shape: [batch, heads, queries], dtype: q.dtype };
}

function requireAttention(
  op: string,
  q: TensorSpec,
  k: TensorSpec,
  v: TensorSpec,
  mask: TensorSpec | undefined,
  { causal, scale, position }: AttentionAttributes,
): TensorSpec {
  const inputs: Specs = [q, k, v, mask];
  const dtype = requireOneDType(op, [q, k, v], FLOATS);
  for (const [name, spec] of Object.entries({ q, k, v })) requireRank(op, name, spec, 4, 4);
  requireFinite(op, "scale", scale);
  requireWhole(op, "position", position, 0);
  const [batch = 0, queries = 0, heads = 0, width] = q.shape;
  const [keyBatch, keys = 0, keyHeads = 0, keyWidth] = k.shape;
  const fits =
    batch === keyBatch &&
    width === keyWidth &&
    (keyHeads === 0 ? heads === 0 : heads % keyHeads === 0) &&
    v.shape.slice(0, 3).join() === k.shape.slice(0, 3).join();
  if (!fits) {
    const wanted = "q must be [B, Tq, n·Hkv, D], k [B, Tk, Hkv, D], v [B, Tk, Hkv, Dv]";
    throw shapeError(op, wanted, inputs);
  }
  if (causal && position + queries > keys) {
    throw shapeError(op, `position ${position} puts queries behind the last key`, inputs);
  }
  if (mask) {
    requireDType(op, "mask", mask.dtype, ["bool"]);
    requireShape(op, "mask", mask, [batch, keys], inputs);
  }
  return { shape: [batch, queries, heads, v.shape[3] ?? 0], dtype };
}
