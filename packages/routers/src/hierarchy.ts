import {
  type Backend,
  type RouteSpec,
  type Tensor,
  add,
  arange,
  div,
  gatherRows,
  less,
  logSumExp,
  min,
  mul,
  oneHot,
  ones,
  rem,
  scoreTokens,
  select,
  selectExperts,
  squashLogits,
  stopGradient,
  sub,
  zeros,
} from "@moiety/core";
import { weighPresent } from "./absent.ts";
import { idsWithin } from "./token-ids.ts";

/** How one level chooses among the branches of a node, which are the spec's `experts`. */
export type LevelSpec = Omit<RouteSpec, "capacity" | "site" | "bias">;

/** One level of a hierarchy for one batch: N nodes above it, b branches of each. */
export interface Level {
  readonly spec: LevelSpec;
  /** N, the nodes above. */
  readonly nodes: number;
  /** `[T · N, b]` after temperature and softcap; absent where labels choose. */
  readonly logits?: Tensor | undefined;
  /** `[T · N, b]`; of labels: 1 for the label's branch, else 0. */
  readonly scores: Tensor;
  /** `[T]` i32, where labels choose. */
  readonly labels?: Tensor | undefined;
}

/** A level that a gate chooses on: `logits [T, N · b]`. */
export function gatedLevel(raw: Tensor, spec: LevelSpec, nodes: number): Level {
  const rows = raw.reshape([(raw.shape[0] ?? 0) * nodes, spec.experts]);
  const logits = squashLogits(rows, spec);
  return { spec, nodes, logits, scores: scoreTokens(logits, spec) };
}

/** The first level, where labels `[T]` choose. */
export function labelledLevel(labels: Tensor, spec: LevelSpec, dtype: "f32" | "f64"): Level {
  return { spec, nodes: 1, scores: oneHot(labels, spec.experts, dtype), labels };
}

/** `[T, E]`: the product of the scores on the way to each expert. */
export function scoresOf(levels: readonly Level[], tokens: number): Tensor {
  return overLevels(levels, tokens, ({ scores }) => scores, mul);
}

/**
 * `[T, E]`: the logits of the last level, plus the log-probabilities of the branches above it, so
 * that one branch above adds nothing.
 */
export function logitsOf(levels: readonly Level[], tokens: number): Tensor {
  const last = levels.length - 1;
  const gated = levels.map((level, index) => ({ ...level, last: index === last }));
  return overLevels(
    gated,
    tokens,
    ({ logits, scores, last: lowest }) => {
      if (logits === undefined) return mul(scores, 0);
      return lowest ? logits : sub(logits, logSumExp(logits).reshape([logits.shape[0] ?? 0, 1]));
    },
    add,
  );
}

/** `[T, K]` i32: the experts that the levels choose in turn; outside any gradient. */
export function selectByLevels(levels: readonly Level[], backend: Backend, tokens: number): Tensor {
  let chosen = zeros(backend, [tokens, 1], "i32");
  for (const level of levels) {
    const { spec, nodes, logits, labels } = level;
    const { experts: branches, topK: k } = spec;
    const count = chosen.shape[1] ?? 0;
    const picks =
      logits === undefined || labels
        ? select(idsWithin(labels as Tensor, branches), labels as Tensor, branches)
        : selectExperts(
            {
              logits: rowsOf(stopGradient(logits), chosen, nodes),
              scores: rowsOf(stopGradient(level.scores), chosen, nodes),
            },
            spec,
          );
    const grid = picks.reshape([tokens, count, k]);
    const parents = chosen.reshape([tokens, count, 1]);
    const children = add(mul(parents, branches), grid);
    const missing = nodes * branches;
    const present = less(parents, nodes);
    chosen = select(present, select(less(grid, branches), children, missing), missing).reshape([
      tokens,
      count * k,
    ]);
  }
  return chosen;
}

/** `[T, K]`: the product of the weights on the way to each of the choices `[T, K]`. */
export function weighByLevels(levels: readonly Level[], indices: Tensor): Tensor {
  const [tokens = 0, total = 0] = indices.shape;
  const experts = levels.reduce((product, { spec }) => product * spec.experts, 1);
  const { backend } = indices;
  let parents = zeros(backend, [tokens, 1], "i32");
  let weights: Tensor | undefined;
  let size = experts;
  for (const level of levels) {
    const { spec, nodes } = level;
    const { experts: branches, topK: k } = spec;
    const width = (parents.shape[1] ?? 0) * k;
    size /= branches;
    // The least of a block is one of its experts, if it has any.
    const heads =
      width === total ? indices : min(indices.reshape([tokens, width, total / width]), [-1]);
    const present = less(heads, experts);
    const children = div(heads, size);
    const local = select(present, rem(children, branches), branches);
    const step = weighLevel(level, local.reshape([tokens * (width / k), k]), parents);
    const grid = step.reshape([tokens, width / k, k]);
    weights = (weights ? mul(weights.reshape([tokens, width / k, 1]), grid) : grid).reshape([
      tokens,
      width,
    ]);
    parents = select(present, children, nodes * branches);
  }
  return weights ?? ones(backend, indices.shape);
}

function weighLevel(
  { spec, nodes, logits, scores }: Level,
  indices: Tensor,
  parents: Tensor,
): Tensor {
  const rows = rowsOf(scores, parents, nodes);
  return weighPresent(
    { logits: logits ? rowsOf(logits, parents, nodes) : rows, scores: rows, indices },
    logits ? spec : { topK: spec.topK, score: "identity" },
  );
}

/** `[T · n, b]`: the rows of the nodes `[T, n]` among rows `[T · N, b]`; zeros for no node. */
function rowsOf(rows: Tensor, nodes: Tensor, count: number): Tensor {
  const [tokens = 0, width = 0] = nodes.shape;
  if (count === 1 && width === 1) return rows;
  const starts = mul(arange(rows.backend, tokens), count).reshape([tokens, 1]);
  const ids = select(less(nodes, count), add(nodes, starts), tokens * count);
  return gatherRows(rows, ids.reshape([tokens * width]));
}

/** Brings values `[T · N, b]` of every level to `[T, E]`, joined by a function. */
function overLevels<L extends Level>(
  levels: readonly L[],
  tokens: number,
  of: (level: L) => Tensor,
  join: (a: Tensor, b: Tensor) => Tensor,
): Tensor {
  const grids = levels.map((level) => of(level).reshape([tokens, level.nodes, level.spec.experts]));
  const joined = grids.reduce((above, grid) =>
    join(above.reshape([tokens, grid.shape[1] ?? 0, 1]), grid),
  );
  return joined.reshape([tokens, (joined.shape[1] ?? 0) * (joined.shape[2] ?? 0)]);
}
