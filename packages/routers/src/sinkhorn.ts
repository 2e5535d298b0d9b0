import {
  type RouteSpec,
  type Tensor,
  abs,
  add,
  and,
  cast,
  div,
  equal,
  exp,
  full,
  greater,
  isNaN,
  max,
  maximum,
  mean,
  mul,
  reciprocal,
  select,
  stopGradient,
  sub,
  sum,
  topK,
} from "@moiety/core";
import { floatOf } from "./dtype.ts";
import { type LinearRouter, linearRouter } from "./linear-router.ts";
import { requirePositive, requireWhole } from "./option.ts";

/** Options of {@link sinkhorn}. */
export interface SinkhornNormOptions {
  /** Rounds stop when the factors of the experts change by no more on average; 1e-4 unless given. */
  readonly tolerance?: number | undefined;
  /** The most rounds; 100 unless given. */
  readonly maxIterations?: number | undefined;
  /** `[T]` bool: false for padding, whose row of the result is 0. */
  readonly mask?: Tensor | undefined;
}

/** Against 0/0, as in the source. */
const EPSILON = 1e-8;

/**
 * Sinkhorn's normalisation of `logits [T, E]`: d₁ · exp(logits) · d₀ with d₀ `[T, 1]` and d₁ `[E]`
 * such that every row sums to 1/T and every column to 1/E, up to the tolerance. All rounds are
 * computed and those after convergence change nothing, so that nothing is read back. A row with NaN
 * is left out like padding. Without a gradient.
 *
 * Source: Megatron-LM `moe_utils.py`, `sinkhorn`, which goes on until it converges, however long that
 * takes. Here the largest logit of a row is taken off it first, so that no exponential overflows: it
 * changes a row's d₀ alone.
 */
export function sinkhorn(logits: Tensor, options: SinkhornNormOptions = {}): Tensor {
  const { tolerance = 1e-4, maxIterations = 100, mask } = options;
  checkSinkhorn(tolerance, maxIterations);
  const still = stopGradient(logits);
  const { backend } = still;
  const [tokens = 0, experts = 0] = still.shape;
  if (tokens === 0) return still;
  return backend.scope(() => {
    const broken = sum(cast(isNaN(still), { dtype: "i32" }), [-1], true);
    const whole = equal(broken, 0);
    const live = mask ? and(whole, mask.reshape([tokens, 1])) : whole;
    const powers = exp(sub(still, max(still, [-1], true)));
    const cost = select(live, powers, 0);
    const dtype = floatOf(still);
    const count = maximum(sum(cast(live, { dtype })), 1);
    let state: Scaling = {
      rows: full(backend, [tokens, 1], 1, dtype),
      columns: full(backend, [1, experts], 1, dtype),
      moving: full(backend, [1, 1], 1, "bool"),
    };
    for (let round = 0; round < maxIterations; round++) {
      const before = state;
      state = backend.scope(() => rescale(cost, before, count, tolerance));
    }
    return mul(mul(state.columns, cost), state.rows);
  });
}

interface Scaling {
  /** d₀ `[T, 1]`. */
  readonly rows: Tensor;
  /** d₁ `[1, E]`. */
  readonly columns: Tensor;
  /** `[1, 1]` bool: whether it has not converged yet. */
  readonly moving: Tensor;
}

function rescale(
  cost: Tensor,
  { rows, columns, moving }: Scaling,
  count: Tensor,
  tolerance: number,
): Scaling {
  const experts = cost.shape[1] ?? 0;
  const nextRows = reciprocal(mul(add(sum(mul(columns, cost), [1], true), EPSILON), count));
  const total = add(sum(mul(nextRows, cost), [0], true), EPSILON);
  const nextColumns = div(full(cost.backend, [1, experts], 1 / experts, total.dtype), total);
  const change = mean(abs(sub(nextColumns, columns))).reshape([1, 1]);
  return {
    rows: select(moving, nextRows, rows),
    columns: select(moving, nextColumns, columns),
    moving: and(moving, greater(change, tolerance)),
  };
}

/** Options of {@link sinkhornRouter}. */
export interface SinkhornOptions extends Omit<SinkhornNormOptions, "mask"> {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** k; 1 unless given. */
  readonly topK?: number | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * What Sinkhorn routing is outside training, as data: the k best logits, weighted by the sigmoid of
 * the logit (k = 1) or the softmax over all experts (k > 1), not renormalised.
 */
export function sinkhornSpec({
  numExperts,
  topK: k = 1,
}: Pick<SinkhornOptions, "numExperts" | "topK">): RouteSpec {
  return {
    experts: numExperts,
    topK: k,
    score: k === 1 ? "sigmoid" : "softmax",
    selectBy: "logits",
  };
}

/**
 * Megatron-LM's Sinkhorn routing: in training a token goes to the k best of its row in
 * {@link sinkhorn} of the logits of the whole batch, which evens out the load; the weights come from
 * the raw logits all the same. Outside training it is the plain k best, and no token sees another.
 * Meant to be used without a balance loss.
 *
 * Papers: Clark et al., "Unified Scaling Laws for Routed Language Models" (2022). Source: Megatron-LM
 * `router.py`, `sinkhorn_load_balancing`.
 * @throws ConfigError
 */
export function sinkhornRouter(options: SinkhornOptions): LinearRouter {
  const { tolerance = 1e-4, maxIterations = 100 } = options;
  checkSinkhorn(tolerance, maxIterations);
  return linearRouter({
    inputSize: options.hiddenSize,
    spec: sinkhornSpec(options),
    initializerRange: options.initializerRange,
    acrossTokens: true,
    stages: ({ training, context: { mask } }) =>
      training
        ? {
            select: ({ logits }, { topK: k }) =>
              topK(sinkhorn(logits, { tolerance, maxIterations, mask }), undefined, { k })[1],
          }
        : {},
  });
}

function checkSinkhorn(tolerance: number, maxIterations: number): void {
  requirePositive("tolerance", tolerance);
  requireWhole("maxIterations", maxIterations);
}
