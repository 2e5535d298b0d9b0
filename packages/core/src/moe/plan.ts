import { ConfigError } from "../errors.ts";
import {
  cast,
  div,
  gatherRows,
  groupRows,
  iota,
  less,
  mul,
  segmentSum,
  select,
  slice,
  sub,
  sum,
  transpose,
} from "../ops/index.ts";
import type { Tensor } from "../tensor.ts";
import type { ExpertChoice, Routing, TokenChoice } from "./routing.ts";

/** The assignments of a routing, sorted by expert once; reusable for several banks. */
export interface Plan {
  /** Tokens T. */
  readonly tokens: number;
  /** Choices per token k; 0 for expert-choice, where it varies. */
  readonly choices: number;
  readonly experts: number;
  /** `[A]` i32: the assignment in each row; `A` in rows that are not live. */
  readonly order: Tensor;
  /** `[A]` i32: the row of each assignment; `A` where it has none. */
  readonly inverse: Tensor;
  /** `[E + 1]` i32: where each expert's rows begin; the last is the live count. */
  readonly offsets: Tensor;
  /** `[A]` i32: the expert of each row; `E` in rows that are not live. */
  readonly group: Tensor;
  /** `[A]` i32: the token of each row; `T` in rows that are not live. */
  readonly tokenOfRow: Tensor;
}

/** Rows of tokens grouped by expert: a lazy view, nothing is gathered until someone asks. */
export interface Rows {
  /** `[T, H]` where rows come from. */
  readonly source: Tensor;
  /** `[A]` i32: the row of `source` of each row; absent when `source` is in order already. */
  readonly index?: Tensor | undefined;
  /** `[A]` factors of the rows. */
  readonly weights?: Tensor | undefined;
  /** `[E + 1]` i32. */
  readonly offsets: Tensor;
  /** `[A]` i32: the expert of each row. */
  readonly group: Tensor;
}

/** Sorts a routing's assignments by expert, stably. */
export function plan(routing: TokenChoice | ExpertChoice): Plan {
  return routing.kind === "token-choice"
    ? planChoices(routing.indices, routing.experts)
    : planExperts(routing);
}

/** The plan of token choices `indices [T, k]` i32; `experts` means no expert. */
export function planChoices(indices: Tensor, experts: number): Plan {
  const [tokens = 0, choices = 0] = indices.shape;
  const [order, inverse, offsets, group] = groupRows(indices.reshape([tokens * choices]), {
    groups: experts,
  });
  const tokenOfRow = div(order, Math.max(choices, 1));
  return { tokens, choices, experts, order, inverse, offsets, group, tokenOfRow };
}

function planExperts({ tokens: chosen, experts, logits }: ExpertChoice): Plan {
  const [groups = 0, , places = 0] = chosen.shape;
  const tokens = logits.shape[0] ?? 0;
  const rows = groups * experts * places;
  const { backend } = chosen;
  const tokenOfRow = transpose(chosen, { permutation: [1, 0, 2] }).reshape([rows]);
  const order = iota(backend, { shape: [rows], axis: 0, dtype: "i32" });
  const perExpert = groups * places;
  const offsets = mul(iota(backend, { shape: [experts + 1], axis: 0, dtype: "i32" }), perExpert);
  const group = div(order, Math.max(perExpert, 1));
  return { tokens, choices: 0, experts, order, inverse: order, offsets, group, tokenOfRow };
}

/**
 * Groups tokens by expert: `source [T, H]` → rows. `weights` is `[T, k]` factors of the inputs.
 */
export function dispatch(source: Tensor, plan: Plan, weights?: Tensor): Rows {
  const { order, offsets, group, tokenOfRow } = plan;
  return {
    source,
    index: tokenOfRow,
    weights: weights && gatherRows(weights.reshape([weights.size]), order),
    offsets,
    group,
  };
}

/** The rows as a tensor `[A, H]`; rows that are not live are zero. */
export function gather({ source, index, weights }: Rows): Tensor {
  const rows = index ? gatherRows(source, index) : source;
  return weights ? mul(rows, weights.reshape([weights.size, 1])) : rows;
}

/**
 * Returns rows `[A, O]` to `[T, k, O]`, without summing; choices without a place are zero.
 * @throws ConfigError for expert-choice, where a token has no fixed number of choices
 */
export function spread(rows: Tensor, plan: Plan): Tensor {
  if (plan.choices === 0 && plan.tokens > 0) {
    throw new ConfigError(
      "spread needs a token-choice routing; use combine",
      "routing",
      "expert-choice",
    );
  }
  const width = rows.shape.slice(1);
  return gatherRows(rows, plan.inverse).reshape([plan.tokens, plan.choices, ...width]);
}

/**
 * Weights rows `[A, O]` and sums those of each token: `[T, O]`. Token-choice takes `weights [T, k]`
 * and adds in the order of choices; expert-choice takes `[G, E, C]` and adds by ascending expert.
 */
export function combine(rows: Tensor, plan: Plan, weights: Tensor): Tensor {
  if (plan.choices > 0 || plan.tokens === 0) {
    const factors = weights.reshape([plan.tokens, plan.choices, 1]);
    return sum(mul(spread(rows, plan), factors), [1]);
  }
  const ordered = transpose(weights, { permutation: [1, 0, 2] }).reshape([rows.shape[0] ?? 0, 1]);
  const [order, , , group] = groupRows(plan.tokenOfRow, { groups: plan.tokens });
  return segmentSum(gatherRows(mul(rows, ordered), order), group, { segments: plan.tokens });
}

/**
 * Assignments per expert, `[E]` i32, from what was selected before dropping. Padding never counts.
 * For soft routing every expert has the same load: its slots.
 */
export function loadOf(routing: Routing): Tensor {
  const { experts } = routing;
  switch (routing.kind) {
    case "token-choice": {
      const { selected, mask } = routing;
      const [tokens = 0] = selected.shape;
      const counted = mask ? select(mask.reshape([tokens, 1]), selected, experts) : selected;
      return countIds(counted.reshape([selected.size]), experts);
    }
    case "expert-choice": {
      const filled = less(routing.tokens, routing.logits.shape[0] ?? 0);
      return sum(cast(filled, { dtype: "i32" }), [0, 2]);
    }
    case "soft": {
      const groups = routing.dispatch.shape[0] ?? 0;
      const counts = new Int32Array(experts).fill(groups * routing.slots);
      return routing.logits.backend.tensor(counts);
    }
  }
}

/** How often each id from 0 to `groups` − 1 stands in `ids [A]` i32: `[groups]` i32. */
export function countIds(ids: Tensor, groups: number): Tensor {
  const [, , offsets] = groupRows(ids, { groups });
  return sub(
    slice(offsets, { starts: [1], sizes: [groups] }),
    slice(offsets, { starts: [0], sizes: [groups] }),
  );
}
