import type { Backend, RouteContext, Routing, Tensor } from "@moiety/core";
import type { Precision } from "../budget.ts";

/** The weight with which a linear router's logits are its input: the identity `[E, E]`. */
function identityWeight(backend: Backend, experts: number, dtype: Precision): Tensor {
  const data = new Float64Array(experts * experts);
  for (let expert = 0; expert < experts; expert++) data[expert * (experts + 1)] = 1;
  return backend.tensor(data, { shape: [experts, experts], dtype });
}

/** A router with one linear layer. */
interface RouterOfWeight<State, R extends Routing> {
  readonly experts: number;
  route(params: { readonly weight: Tensor }, state: State, x: Tensor, context?: RouteContext): R;
}

/** Routes logits `[T, E]` by a linear router as wide as its number of experts. */
export function routeLogits<State, R extends Routing>(
  router: RouterOfWeight<State, R>,
  state: State,
  logits: Tensor,
  context: RouteContext = {},
): R {
  const dtype = logits.dtype === "f64" ? "f64" : "f32";
  const weight = identityWeight(logits.backend, router.experts, dtype);
  return router.route({ weight }, state, logits, context);
}
