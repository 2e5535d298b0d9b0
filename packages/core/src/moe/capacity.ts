import { ConfigError } from "../errors.ts";
import { add, div, less, mul, select, sub } from "../ops/arithmetic.ts";
import { iota } from "../ops/creation.ts";
import { gatherRows } from "../ops/gather.ts";
import { transpose } from "../ops/layout.ts";
import { uniform } from "../ops/random.ts";
import { max } from "../ops/reduction.ts";
import { argsort, groupRows } from "../ops/sort.ts";
import { type Tensor, stopGradient } from "../tensor.ts";
import { checkCapacity } from "./check-spec.ts";
import type { RouteContext } from "./routing.ts";

/** How many tokens an expert takes, and which. */
export interface CapacitySpec {
  /** A number of tokens, or a factor of the even share T·k/E (padding counts in T). */
  readonly size:
    | { readonly absolute: number }
    | {
        readonly factor: number;
        /** `ceil` unless given. */
        readonly rounding?: "ceil" | "floor" | "round" | undefined;
        readonly minimum?: number | undefined;
        readonly multipleOf?: number | undefined;
      };
  /** Counted over the whole batch, or over each sequence. */
  readonly per: "batch" | "sequence";
  /**
   * Who comes first: `position` (token by token), `choice` (all first choices, then all second:
   * GShard), `probability` (heaviest weight), `prioritized` (tokens with the heaviest best weight:
   * V-MoE), `random` (needs a key). Equals go by position.
   */
  readonly order: "position" | "choice" | "probability" | "prioritized" | "random";
}

/** Places per expert for `tokens` tokens. @throws ConfigError */
export function capacityOf(
  spec: CapacitySpec,
  tokens: number,
  topK: number,
  experts: number,
): number {
  checkCapacity(spec);
  const { size } = spec;
  if ("absolute" in size) return size.absolute;
  const { factor, rounding = "ceil", minimum = 0, multipleOf = 1 } = size;
  const places = Math[rounding]((tokens * topK * factor) / experts);
  return Math.ceil(Math.max(places, minimum) / multipleOf) * multipleOf;
}

/**
 * Keeps the assignments that find a place: `indices [T, k]` with the others set to `experts` (no
 * expert). Masked tokens take no places and are dropped.
 * @throws ConfigError where random dropping has no key
 */
export function applyCapacity(
  spec: CapacitySpec,
  indices: Tensor,
  weights: Tensor,
  experts: number,
  context: RouteContext,
): Tensor {
  const [tokens = 0, k = 0] = indices.shape;
  const assignments = tokens * k;
  const sequences = spec.per === "sequence" ? (context.sequences ?? [0, tokens]) : [0, tokens];
  const lengths = sequences.slice(1).map((end, index) => end - (sequences[index] ?? 0));
  const places = lengths.map((length) => capacityOf(spec, length, k, experts));
  const queue = queueOf(spec, indices, stopGradient(weights), context);
  if (assignments === 0) return indices;
  const routed = context.mask
    ? select(context.mask.reshape([tokens, 1]), indices, experts)
    : indices;
  const flat = routed.reshape([assignments]);
  const buckets = bucketsOf(flat, lengths, k, experts);
  const queued = queue ? gatherRows(buckets, queue) : buckets;
  const [, row, offsets] = groupRows(queued, { groups: experts * lengths.length });
  const rank = sub(row, gatherRows(offsets, queued));
  const kept = less(rank, limitOf(queued, places, experts, assignments));
  const back = queue ? gatherRows(kept, argsort(queue, undefined, {})) : kept;
  return select(back, flat, experts).reshape([tokens, k]);
}

/** The order in which assignments ask for places, as a permutation of T·k; none for `position`. */
function queueOf(
  spec: CapacitySpec,
  indices: Tensor,
  weights: Tensor,
  context: RouteContext,
): Tensor | undefined {
  const [tokens = 0, k = 0] = indices.shape;
  const assignments = tokens * k;
  const { backend } = indices;
  const choiceFirst = (order: Tensor): Tensor =>
    transpose(order, { permutation: [1, 0] }).reshape([assignments]);
  const natural = (): Tensor =>
    iota(backend, { shape: [assignments], axis: 0, dtype: "i32" }).reshape([tokens, k]);
  switch (spec.order) {
    case "position":
      return undefined;
    case "choice":
      return choiceFirst(natural());
    case "probability":
      return argsort(weights.reshape([assignments]), undefined, { descending: true });
    case "prioritized": {
      const ranked = argsort(max(weights, [-1]), undefined, { descending: true });
      return choiceFirst(gatherRows(natural(), ranked));
    }
    case "random": {
      if (context.key === undefined) {
        throw new ConfigError(
          "capacity.order random drops by chance and needs a key; give context.key",
          "context.key",
          undefined,
        );
      }
      const draws = uniform(backend, { key: context.key, shape: [assignments], dtype: "f32" });
      return argsort(draws, undefined, {});
    }
  }
}

/** Ids of (sequence, expert) for each assignment; one past the last where there is no expert. */
function bucketsOf(flat: Tensor, lengths: readonly number[], k: number, experts: number): Tensor {
  const count = lengths.length;
  if (count === 1) return flat;
  const starts = sequenceOf(flat, lengths, k);
  return select(less(flat, experts), add(flat, mul(starts, experts)), experts * count);
}

/** `[T·k]` i32: the sequence of each assignment. */
function sequenceOf(flat: Tensor, lengths: readonly number[], k: number): Tensor {
  const [length = 0] = lengths;
  if (lengths.every((other) => other === length)) {
    const position = iota(flat.backend, { shape: [flat.size], axis: 0, dtype: "i32" });
    return div(position, length * k);
  }
  const ids = lengths.flatMap((size, id) => new Array<number>(size * k).fill(id));
  return flat.backend.tensor(Int32Array.from(ids));
}

/** Places of each assignment's bucket: one number where all buckets have as many. */
function limitOf(
  queued: Tensor,
  places: readonly number[],
  experts: number,
  most: number,
): Tensor | number {
  const capped = places.map((count) => Math.min(count, most));
  const [first = 0] = capped;
  if (capped.every((count) => count === first)) return first;
  const limits = capped.flatMap((count) => new Array<number>(experts).fill(count));
  return gatherRows(queued.backend.tensor(Int32Array.from(limits)), queued);
}
