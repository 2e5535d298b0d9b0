import type { BiasController } from "@moiety/losses";
import { type LayerControl, layerControl } from "./layer-control.ts";

/**
 * Makes the control of a loop from a bias controller: every `selectionBias` in the state is moved by
 * the load of its layer, as {@link layerControl} finds it. The routers' specs need `bias: true`.
 *
 * @throws ConfigError, when it runs, where there are not as many biases as loads
 *
 * @example
 * train({ start, loss, optimizer, batch, control: biasControl(biasController({ rate: 1e-3 })) });
 */
export function biasControl<State>(controller: BiasController): LayerControl<State> {
  return layerControl("selectionBias", (state, { load }) => controller.update(state, load));
}
