import type { Backend, TensorSpec } from "../contract.ts";
import { pullBack } from "../gradient.ts";
import { type Op, defineOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { and, exp, lessEqual, mul, neg, sub } from "./arithmetic.ts";
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
import { fill, iota, zerosLike } from "./creation.ts";
import { apply, broadcast } from "./elementwise.ts";
import { concat, slice } from "./layout.ts";
import { matmul } from "./matmul.ts";
import { sum } from "./reduction.ts";
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
  /** A query sees this many keys up to its own place. All unless given; only when causal. */
  readonly window?: number | undefined;
}

type AttentionInputs = [q: Tensor, k: Tensor, v: Tensor, mask?: Tensor, sinks?: Tensor];

/**
 * Attention with grouped queries: `q [B, Tq, Hq, D]`, `k [B, Tk, Hkv, D]`, `v [B, Tk, Hkv, Dv]` float,
 * optional `mask [B, Tk]` bool (false: nobody sees this key), optional `sinks [Hq]` →
 * `[B, Tq, Hq, Dv]`. Hq is a multiple n of Hkv; query head h uses key head ⌊h/n⌋.
 *
 * `softmax(scale · q·kᵀ) · v` over the keys that a query sees: those of the mask and, when `causal`,
 * keys j of position + i − window < j ≤ position + i for query i. So a key-value cache of fixed
 * capacity needs no mask for its unused end. A query that sees no key gets zeros. `position + Tq` ≤
 * Tk when causal.
 *
 * `sinks`: a logit for each query head, whose power counts in the softmax's denominator and meets no
 * value (gpt-oss, arXiv 2508.10925; the scale does not touch it).
 *
 * Residual: the logarithm of the softmax's denominator `[B, Hq, Tq]` (0 where no key is seen and
 * there is no sink).
 */
export const attention: Op<AttentionInputs, AttentionAttributes, Tensor, [logSumExp: Tensor]> =
  /*#__PURE__*/ defineOp<AttentionInputs, AttentionAttributes, Tensor, [logSumExp: Tensor]>({
    name: "attention",
    inputs: ["q", "k", "v", "mask?", "sinks?"],
    dynamic: ["scale", "position", "window"],
    infer([q, k, v, mask, sinks], attributes) {
      return requireAttention("attention", q, k, v, mask, sinks, attributes);
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
      const [q, k, v, mask, sinks] = inputs;
      const residual = [output, logSumExp, gradient] as const;
      const ofHeads = attentionBackward(q, k, v, ...residual, mask, sinks, attributes);
      return [...ofHeads, undefined, sinks && gradientOfSinks(sinks, ...residual)];
    },
    backward: () => attentionBackward,
    decompose: ([q, k, v, mask, sinks], attributes) => attend(q, k, v, mask, sinks, attributes),
  });

/**
 * Gradients of {@link attention} with respect to q, k and v, from its inputs, its output, its
 * residual and the gradient of its output. A kernel needs no `sinks`: the residual holds them.
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
    sinks?: Tensor,
  ],
  AttentionAttributes,
  [q: Tensor, k: Tensor, v: Tensor]
> = /*#__PURE__*/ defineOp({
  name: "attentionBackward",
  inputs: ["q", "k", "v", "output", "logSumExp", "gradient", "mask?", "sinks?"],
  outputs: ["q", "k", "v"],
  dynamic: ["scale", "position", "window"],
  infer([q, k, v, output, logSumExp, gradient, mask, sinks], attributes) {
    const op = "attentionBackward";
    const inputs = [q, k, v, output, logSumExp, gradient];
    requireOneDType(op, inputs, FLOATS);
    const { shape } = requireAttention(op, q, k, v, mask, sinks, attributes);
    requireShape(op, "output", output, shape, inputs);
    requireShape(op, "gradient", gradient, shape, inputs);
    requireShape(op, "logSumExp", logSumExp, logSumExpOf(q).shape, inputs);
    return [q, k, v];
  },
  decompose([q, k, v, , , gradient, mask, sinks], attributes) {
    const [dq, dk, dv] = pullBack(
      [q, k, v],
      (...[a, b, c]) => [attend(a as Tensor, b as Tensor, c as Tensor, mask, sinks, attributes)],
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
  sinks: Tensor | undefined,
  { causal, scale, position, window }: AttentionAttributes,
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
  const weights = softmaxWithSinks(
    scores.reshape([batch, keyHeads, group, queries, keys]),
    visible(q, mask && seen(mask), queries, keys, causal ? { position, window } : undefined),
    sinks,
  ).reshape(scores.shape);
  return transpose(
    matmul(weights, headFirst(v)).reshape([batch, keyHeads, group, queries, valueWidth]),
    { permutation: [0, 3, 1, 2, 4] },
  ).reshape([batch, queries, heads, valueWidth]);
}

/** The softmax of `scores [B, Hkv, n, Tq, Tk]`, each head's sink beside its keys. */
function softmaxWithSinks(
  scores: Tensor,
  seen: Tensor | undefined,
  sinks: Tensor | undefined,
): Tensor {
  if (!sinks) return softmax(scores, seen);
  const [batch = 0, keyHeads = 0, group = 0, queries = 0, keys = 0] = scores.shape;
  const column = [batch, keyHeads, group, queries, 1];
  const sink = broadcast(sinks.reshape([1, keyHeads, group, 1, 1]), { shape: column });
  const always =
    seen && fill(scores.backend, { shape: seen.shape.with(-1, 1), value: 1, dtype: "bool" });
  const weights = softmax(
    concat(scores, sink, { axis: 4 }),
    seen && always && concat(seen, always, { axis: 4 }),
  );
  return slice(weights, { starts: [0, 0, 0, 0, 0], sizes: [...column.slice(0, 4), keys] });
}

/** Which keys a query sees, in a shape that broadcasts to `[B, Hkv, n, Tq, Tk]`. */
function visible(
  { backend }: Tensor,
  mask: Tensor | undefined,
  queries: number,
  keys: number,
  causal: Pick<AttentionAttributes, "position" | "window"> | undefined,
): Tensor | undefined {
  const masked = mask?.reshape([mask.shape[0] ?? 0, 1, 1, 1, keys]);
  const limits = causal ? limitsOf(backend, queries, keys, causal) : [];
  return [...(masked ? [masked] : []), ...limits].reduce<Tensor | undefined>(
    (all, limit) => (all ? and(all, limit) : limit),
    undefined,
  );
}

/** Which keys lie neither behind a query nor too far before it, `[1, 1, 1, Tq, Tk]` each. */
function limitsOf(
  backend: Backend,
  queries: number,
  keys: number,
  { position, window = Infinity }: Pick<AttentionAttributes, "position" | "window">,
): Tensor[] {
  const places = (shape: readonly [number, number], axis: number): Tensor =>
    iota(backend, { shape: [1, 1, 1, ...shape], axis: axis + 3, dtype: "i32" });
  const own = (shift: number): Tensor => apply("add", places([queries, 1], 0), shift);
  const limits: Tensor[] = [];
  // One query at the end has no key behind it.
  if (queries > 1) limits.push(lessEqual(places([1, keys], 1), own(position)));
  if (window < position + queries) {
    limits.push(lessEqual(own(position - window + 1), places([1, keys], 1)));
  }
  return limits;
}

/**
 * Gradient of the sinks `[Hq]`: a sink takes its share of the softmax from the output, and so
 * −Σ exp(sink − logSumExp) · ⟨gradient, output⟩ over batch and queries.
 */
function gradientOfSinks(
  sinks: Tensor,
  output: Tensor,
  logSumExp: Tensor,
  gradient: Tensor,
): Tensor {
  const share = exp(sub(sinks.reshape([1, -1, 1]), logSumExp));
  const taken = transpose(sum(mul(gradient, output), [3]), { permutation: [0, 2, 1] });
  return neg(sum(mul(share, taken), [0, 2]));
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
  sinks: TensorSpec | undefined,
  { causal, scale, position, window }: AttentionAttributes,
): TensorSpec {
  const inputs: Specs = [q, k, v, mask, sinks];
  const dtype = requireOneDType(op, sinks ? [q, k, v, sinks] : [q, k, v], FLOATS);
  for (const [name, spec] of Object.entries({ q, k, v })) requireRank(op, name, spec, 4, 4);
  requireFinite(op, "scale", scale);
  requireWhole(op, "position", position, 0);
  if (window !== undefined) requireWhole(op, "window", window, 1);
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
  if (window !== undefined && !causal) {
    throw shapeError(op, "a window needs causal attention", inputs);
  }
  if (sinks) requireShape(op, "sinks", sinks, [heads], inputs);
  if (mask) {
    requireDType(op, "mask", mask.dtype, ["bool"]);
    requireShape(op, "mask", mask, [batch, keys], inputs);
  }
  return { shape: [batch, queries, heads, v.shape[3] ?? 0], dtype };
}
