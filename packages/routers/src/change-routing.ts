import type { RouteContext, Tensor, TokenChoice } from "@moiety/core";
import type { StagedRouter, StagedRouterState } from "./staged-router.ts";

/** A router whose finished routings are changed. */
export function changeRouting<Params>(
  router: StagedRouter<Params>,
  change: (
    routing: TokenChoice,
    state: StagedRouterState,
    x: Tensor,
    context: RouteContext | undefined,
  ) => TokenChoice,
): StagedRouter<Params> {
  return {
    ...router,
    route: (params, state, x, context) =>
      change(router.route(params, state, x, context), state, x, context),
  };
}
