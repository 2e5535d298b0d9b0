import {
  type CapacitySpec,
  type RouteContext,
  type Tensor,
  add,
  and,
  capacityOf,
  countIds,
  cumsum,
  equal,
  cast,
  gatherRows,
  greater,
  greaterEqual,
  less,
  mul,
  oneHot,
  select,
  sub,
  sum,
  takeAlong,
  topK,
} from "@moiety/core";
import { admit, queueFor } from "./assignment-places.ts";

/** What found a place, what did not, and what there is room for. */
interface Overflow {
  /** `[T, E]`, untraced. */
  readonly scores: Tensor;
  /** `[T, k]` i32 before capacity. */
  readonly chosen: Tensor;
  /** `[T, k]` i32 after it; `E` where nothing was found. */
  readonly kept: Tensor;
  readonly capacity: CapacitySpec | undefined;
  /** What a score must reach: a number, `[E]` or `[1]`. */
  readonly threshold: Tensor | number;
  readonly rounds: number;
  readonly context: RouteContext;
}

/** The groups of tokens that have places for themselves. */
interface Groups {
  readonly count: number;
  /** `[T, 1]` i32. */
  readonly ofToken: Tensor;
  /** `[G · E]` i32. */
  readonly places: Tensor;
}

/** Sends choices without a place to the next best experts with room: `[T, k]` i32. */
export function reroute(overflow: Overflow): Tensor {
  const { scores, chosen, kept, capacity, threshold, rounds, context } = overflow;
  const { backend } = scores;
  const [tokens = 0, experts = 0] = scores.shape;
  if (tokens === 0 || rounds === 0 || capacity === undefined) return kept;
  return backend.scope(() => {
    const groups = groupsOf(overflow, capacity);
    const least =
      typeof threshold === "number" ? threshold : cast(threshold, { dtype: scores.dtype });
    const reached = greaterEqual(scores, least);
    const live = context.mask ? and(reached, context.mask.reshape([tokens, 1])) : reached;
    const fresh = and(live, equal(presence(chosen, experts), 0));
    // Where nothing had been chosen, nothing overflows.
    const wanting = less(chosen, experts);
    let placed = kept;
    for (let round = 0; round < rounds; round++) {
      const before = placed;
      placed = backend.scope(() => ask(scores, before, { fresh, wanting, groups }));
    }
    return placed;
  });
}

interface Standing {
  /** `[T, E]` bool: experts that may still be asked. */
  readonly fresh: Tensor;
  /** `[T, k]` bool. */
  readonly wanting: Tensor;
  readonly groups: Groups;
}

/** One round: each choice without a place asks once. */
function ask(scores: Tensor, placed: Tensor, { fresh, wanting, groups }: Standing): Tensor {
  const [tokens = 0, experts = 0] = scores.shape;
  const [, k = 0] = placed.shape;
  const buckets = groups.count * experts;
  const bucketOf = (ids: Tensor): Tensor =>
    select(less(ids, experts), add(ids, mul(groups.ofToken, experts)), buckets);
  const taken = countIds(bucketOf(placed).reshape([tokens * k]), buckets);
  const room = sub(groups.places, taken);
  const open = gatherRows(greater(room, 0).reshape([groups.count, experts]), groups.ofToken);
  const free = and(open.reshape([tokens, experts]), equal(presence(placed, experts), 0));
  const candidates = and(fresh, free);
  const [, best] = topK(scores, candidates, { k });
  const found = select(takeAlong(candidates, best, { axis: 1 }), best, experts);
  // The first choice of a token that waits asks for its best candidate, the second for the next.
  const waiting = and(wanting, equal(placed, experts));
  const turn = cumsum(cast(waiting, { dtype: "i32" }), { axis: 1, exclusive: true });
  const asked = select(waiting, takeAlong(found, turn, { axis: 1 }), experts);
  const levels = takeAlong(scores, asked, { axis: 1 }).reshape([tokens * k]);
  const queue = queueFor(bucketOf(asked).reshape([tokens * k]), levels, buckets);
  const admitted = less(admit(queue, room), buckets).reshape([tokens, k]);
  return select(admitted, asked, placed);
}

/** `[T, E]` i32: how often each expert stands in `ids [T, k]`. */
function presence(ids: Tensor, experts: number): Tensor {
  return sum(oneHot(ids, experts, "i32"), [1]);
}

function groupsOf({ scores, chosen, context }: Overflow, capacity: CapacitySpec): Groups {
  const { backend } = scores;
  const [tokens = 0, experts = 0] = scores.shape;
  const k = chosen.shape[1] ?? 0;
  const whole = [0, tokens];
  const sequences = capacity.per === "sequence" ? (context.sequences ?? whole) : whole;
  const lengths = sequences.slice(1).map((end, index) => end - (sequences[index] ?? 0));
  const ids = lengths.flatMap((length, id) => new Array<number>(length).fill(id));
  const places = lengths.flatMap((length) =>
    new Array<number>(experts).fill(Math.min(capacityOf(capacity, length, k, experts), tokens * k)),
  );
  return {
    count: lengths.length,
    ofToken: backend.tensor(Int32Array.from(ids), { shape: [tokens, 1] }),
    places: backend.tensor(Int32Array.from(places)),
  };
}
