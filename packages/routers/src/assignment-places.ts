import {
  type Tensor,
  argsort,
  gatherRows,
  groupRows,
  less,
  putAlong,
  select,
  slice,
  sub,
} from "@moiety/core";

/** Who asked for places in groups, best first. */
export interface Queue {
  /** Number of groups G. */
  readonly groups: number;
  /** `[A]` i32: who stands at each place of the queue. */
  readonly order: Tensor;
  /** `[A]` i32: the group that each place of the queue asks for; `G` for none. */
  readonly asked: Tensor;
  /** `[A]` i32: how many before it ask for the same group. */
  readonly rank: Tensor;
  /** `[A]` i32: places of the queue, grouped by what they ask for. */
  readonly rows: Tensor;
  /** `[G]` i32: where each group's rows begin. */
  readonly starts: Tensor;
  /** `[G]` i32: how many ask for each group. */
  readonly counts: Tensor;
}

/**
 * Queues those that ask for a place: `asked [A]` i32 (`groups` for none), `levels [A]` float. The
 * highest level comes first, equals by position, NaN last.
 */
export function queueFor(asked: Tensor, levels: Tensor, groups: number): Queue {
  const order = argsort(levels, undefined, { descending: true });
  const queued = gatherRows(asked, order);
  const [rows, row, offsets] = groupRows(queued, { groups });
  const starts = slice(offsets, { starts: [0], sizes: [groups] });
  return {
    groups,
    order,
    asked: queued,
    rank: sub(row, gatherRows(starts, queued)),
    rows,
    starts,
    counts: sub(slice(offsets, { starts: [1], sizes: [groups] }), starts),
  };
}

/**
 * Lets the first of each group in: → `[A]` i32, the group of each that found a place, `G` for the
 * others. `limit` is the number of places, or a `[G]` i32 of them.
 */
export function admit({ groups, order, asked, rank }: Queue, limit: Tensor | number): Tensor {
  const most = typeof limit === "number" ? limit : gatherRows(limit, asked);
  // Whoever asks for no group has no limit either, and no group.
  const admitted = select(less(rank, most), asked, groups);
  return putAlong(admitted, order, admitted, { axis: 0 });
}
