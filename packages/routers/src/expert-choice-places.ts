import {
  type RouteContext,
  type Tensor,
  add,
  and,
  broadcast,
  gatherRows,
  iota,
  less,
  select,
  takeAlong,
  topK,
  transpose,
} from "@moiety/core";

/** The places of experts, and what their outputs are weighed with. */
export interface ChosenTokens {
  /** `[G, E, C]` i32 token indices in T; `T` for an empty place. */
  readonly tokens: Tensor;
  /** `[G, E, C]`, descending; 0 for an empty place. */
  readonly weights: Tensor;
}

/**
 * Lets each expert take the tokens with the highest `scores [T, E]` in each of the context's
 * sequences, as many as `places` gives for a sequence of that length (at most all of them). Equals
 * go by position, NaN last; padding is never taken. C is the most places of any sequence.
 */
export function chooseTokens(
  scores: Tensor,
  places: (length: number) => number,
  { sequences, mask }: Pick<RouteContext, "sequences" | "mask">,
): ChosenTokens {
  const { backend } = scores;
  const [tokens = 0, experts = 0] = scores.shape;
  const offsets = sequences ?? [0, tokens];
  const starts = offsets.slice(0, -1);
  const lengths = starts.map((start, group) => (offsets[group + 1] ?? start) - start);
  const counts = lengths.map((length) => Math.min(places(length), length));
  const [groups, longest, most] = [starts.length, Math.max(...lengths), Math.max(...counts)];
  const rows = backend.tensor(
    Int32Array.from(
      lengths.flatMap((length, group) =>
        Array.from({ length: longest }, (_, at) =>
          at < length ? (starts[group] ?? 0) + at : tokens,
        ),
      ),
    ),
    { shape: [groups, longest] },
  );
  const byExpert = transpose(gatherRows(scores, rows), { permutation: [0, 2, 1] });
  // A row outside the table is false: what lies behind a shorter sequence is no token of it.
  const live = mask ? gatherRows(mask, rows) : less(rows, tokens);
  const open = broadcast(live.reshape([groups, 1, longest]), { shape: byExpert.shape });
  const [values, chosen] = topK(byExpert, open, { k: most });
  const found = takeAlong(open, chosen, { axis: 2 });
  const column = (list: readonly number[]): Tensor =>
    backend.tensor(Int32Array.from(list), { shape: [groups, 1, 1] });
  const within = less(
    iota(backend, { shape: [groups, experts, most], axis: 2, dtype: "i32" }),
    column(counts),
  );
  const filled = and(found, within);
  return {
    tokens: select(filled, add(chosen, column(starts)), tokens),
    weights: select(filled, values, 0),
  };
}
