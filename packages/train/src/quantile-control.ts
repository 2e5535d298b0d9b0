import type { QuantileController } from "@moiety/losses";
import { type LayerControl, layerControl } from "./layer-control.ts";

/**
 * Makes the control of a loop from a quantile controller: every `selectionBias` in the state is set by
 * its layer's routings of all micro-batches, as {@link layerControl} finds them. The routers' specs
 * need `bias: true`, and the loss function gives `routings`.
 *
 * @throws ConfigError, when it runs, where there are not as many biases as loads, or no routings
 */
export function quantileControl<State>(controller: QuantileController): LayerControl<State> {
  return layerControl("selectionBias", (state, { routings }) =>
    controller.update(
      state,
      routings.map((routing) => controller.estimate(state, routing)),
    ),
  );
}
