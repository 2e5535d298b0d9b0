import {
  type AttentionAttributes,
  type Backend,
  type Tensor,
  attention,
  concat,
  mul,
  sum,
  valueAndGrad,
} from "@moiety/core";
import { randomTensor } from "./random-tensor.ts";

/** Sizes of an attention; two sequences of two heads of 8 unless given. */
export interface LimitedSizes {
  readonly batch?: number;
  readonly queries: number;
  readonly keys: number;
  readonly heads?: number;
  readonly keyHeads?: number;
  readonly width?: number;
  readonly valueWidth?: number;
}

/** A logit for each head, on a backend. */
export type Sinks = (backend: Backend, heads: number) => Tensor;

/** What limits it. */
export interface Limits {
  readonly position?: number;
  readonly window?: number;
  readonly causal?: boolean;
  readonly sinks?: Sinks;
  readonly hidden?: (at: number) => boolean;
}

/** Sinks by chance. */
export const anySinks: Sinks = (backend, heads) => randomTensor(backend, 5, [heads]);

/** Sinks of these values, in turn. */
export const sinksOf =
  (...values: readonly number[]): Sinks =>
  (backend, heads) =>
    backend.tensor(
      Float32Array.from({ length: heads }, (_, at) => values[at % values.length] ?? 0),
    );

/** Queries, keys and values by chance. */
export function inputs(backend: Backend, sizes: LimitedSizes): [q: Tensor, k: Tensor, v: Tensor] {
  const { batch = 2, queries, keys, heads = 2, keyHeads = 2, width = 8, valueWidth = 8 } = sizes;
  return [
    randomTensor(backend, 1, [batch, queries, heads, width]),
    randomTensor(backend, 2, [batch, keys, keyHeads, width]),
    randomTensor(backend, 3, [batch, keys, keyHeads, valueWidth]),
  ];
}

/** The attributes: causal unless told otherwise. */
export const attributesOf = ({
  causal = true,
  position = 0,
  window,
}: Limits): AttentionAttributes => ({
  causal,
  scale: 0.35,
  position,
  ...(window === undefined ? {} : { window }),
});

/** The output, and gradients of its product with numbers that are always the same. */
export function outputAndGradients(
  backend: Backend,
  sizes: LimitedSizes,
  options: Limits,
): Tensor[] {
  const [q, k, v] = inputs(backend, sizes);
  const { hidden } = options;
  const [batch = 0, , heads = 0] = q.shape;
  const shown = Uint32Array.from({ length: batch * sizes.keys }, (_, at) => (hidden?.(at) ? 0 : 1));
  const mask = hidden && backend.tensor(shown, { shape: [batch, sizes.keys], dtype: "bool" });
  const sinks = options.sinks?.(backend, heads);
  const direction = randomTensor(backend, 4, [...q.shape.slice(0, 3), v.shape[3] ?? 0]);
  const run = ([a, b, c, sink]: readonly Tensor[]): Tensor =>
    attention(a as Tensor, b as Tensor, c as Tensor, mask, sink, attributesOf(options));
  const given = sinks ? [q, k, v, sinks] : [q, k, v];
  const { grads } = valueAndGrad((all: readonly Tensor[]) => sum(mul(run(all), direction)))(given);
  // Gradients are compared as a whole: those of queries which see one key are 0 but for rounding.
  const whole = (grads as readonly Tensor[]).map((gradient) => gradient.reshape([gradient.size]));
  return [run(given), concat(...whole, { axis: 0 })];
}
