import { ConfigError, type Routing, type Tensor, add, cast, full, sum } from "@moiety/core";
import type { ReluController } from "@moiety/losses";
import { type LayerControl, layerControl } from "./layer-control.ts";

/**
 * Makes the control of a loop from ReMoE's controller: every `sparsityCoefficient` in the state is
 * multiplied by what its layer's load asks for, as {@link layerControl} finds it. Tokens are counted
 * in the routings that the loss function gives as `routings`, padding left out.
 *
 * @throws ConfigError, when it runs, where there are not as many coefficients as loads, or no routings
 */
export function sparsityControl<State>(controller: ReluController): LayerControl<State> {
  return layerControl("sparsityCoefficient", (state, { load, routings }) =>
    controller.update(state, load, tokensOf(routings)),
  );
}

/** `[]` i32: how many tokens were routed, padding left out. */
function tokensOf(routings: readonly Routing[]): Tensor {
  if (routings.length === 0) {
    throw new ConfigError(
      "sparsityControl counts tokens in routings; give routings from the loss function",
      "routings",
      routings,
    );
  }
  const counts = routings.map(({ mask, logits: { backend, shape } }) =>
    mask ? sum(cast(mask, { dtype: "i32" })) : full(backend, [], shape[0] ?? 0, "i32"),
  );
  return counts.reduce((a, b) => add(a, b));
}
