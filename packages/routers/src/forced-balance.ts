import {
  type RouteContext,
  type RouteSpec,
  type Tensor,
  type TokenChoice,
  add,
  cast,
  cumsum,
  div,
  iota,
  less,
  mul,
  rem,
} from "@moiety/core";
import type { ShapedRouter } from "./gate.ts";
import {
  type LinearRouterOptions,
  type LinearRouterParams,
  type LinearRouterState,
  linearRouter,
} from "./linear-router.ts";
import { refuseOption } from "./option.ts";

/** A router of stages, as far as its choice can be made by another. */
export interface ReplayableRouter<Params, State> extends ShapedRouter<Params, State> {
  readonly spec: RouteSpec;
  route(params: Params, state: State, x: Tensor, context?: RouteContext): TokenChoice;
}

/** Options of {@link forceBalance}. */
export interface ForcedBalanceOptions {
  /**
   * Weights of the choices: those the router gives them (`own`, the default), or 1/k, which leaves the
   * router without a gradient (`uniform`).
   */
  readonly weights?: "own" | "uniform" | undefined;
}

/** Options of {@link forcedBalanceRouter}. */
export interface ForcedBalanceRouterOptions extends LinearRouterOptions, ForcedBalanceOptions {}

/**
 * A router whose choices are made by turns, for tests and benchmarks: choice j of the n-th token goes
 * to expert (n · k + j) mod E, padding not counted, so that loads differ by at most 1. Scores, weights
 * and capacity stay those of the router inside. A token's turn depends on how many came before it in
 * the batch, never on what they are.
 *
 * Sources: MegaBlocks `_UniformExpertAssignment`; torchtitan `_debug_force_load_balance`.
 * @throws ConfigError
 */
export function forceBalance<Params, State>(
  router: ReplayableRouter<Params, State>,
  { weights = "own" }: ForcedBalanceOptions = {},
): ReplayableRouter<Params, State> {
  if (!["own", "uniform"].includes(weights))
    throw refuseOption("weights", weights, "own or uniform");
  const { experts, topK: k } = router.spec;
  return {
    ...router,
    init: (key, options) => router.init(key, options),
    route(params, state, x, context = {}) {
      const selected = context.selected ?? turns(x, k, experts, context.mask);
      const routing = router.route(params, state, x, { ...context, selected });
      return weights === "own" ? routing : { ...routing, outputWeights: evenWeights(routing, k) };
    },
  };
}

/** {@link forceBalance} around a {@link linearRouter}. @throws ConfigError */
export function forcedBalanceRouter({
  weights,
  ...options
}: ForcedBalanceRouterOptions): ReplayableRouter<LinearRouterParams, LinearRouterState> {
  return forceBalance<LinearRouterParams, LinearRouterState>(linearRouter(options), { weights });
}

/** `[T, k]` i32: the experts whose turn it is. */
function turns(x: Tensor, k: number, experts: number, mask: Tensor | undefined): Tensor {
  const tokens = x.shape[0] ?? 0;
  const { backend } = x;
  const rows = mask
    ? cumsum(cast(mask, { dtype: "i32" }), { axis: 0, exclusive: true })
    : iota(backend, { shape: [tokens], axis: 0, dtype: "i32" });
  const places = iota(backend, { shape: [tokens, k], axis: 1, dtype: "i32" });
  return rem(add(mul(rows.reshape([tokens, 1]), k), places), experts);
}

/** `[T, k]`: 1/k where there is an expert. */
function evenWeights({ indices, logits, experts }: TokenChoice, k: number): Tensor {
  return div(cast(less(indices, experts), { dtype: logits.dtype }), k);
}
