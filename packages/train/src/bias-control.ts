import { ConfigError, type Tensor, isTensor } from "@moiety/core";
import type { BiasController } from "@moiety/losses";

/**
 * Makes the control of a loop from a bias controller: every `selectionBias` in the state is moved by
 * the load of its layer. Biases are taken in the order of the state's layers, loads in the order in
 * which the loss function gives them; layers without a bias have no load there.
 *
 * @throws ConfigError, when it runs, where there are not as many biases as loads
 *
 * @example
 * train({ start, loss, optimizer, batch, control: biasControl(biasController({ rate: 1e-3 })) });
 */
export function biasControl<State>(
  controller: BiasController,
): (state: State, loads: readonly Tensor[]) => State {
  return (state, loads) => {
    let used = 0;
    const walk = (node: unknown): unknown => {
      if (isTensor(node) || typeof node !== "object" || node === null) return node;
      if (Array.isArray(node)) return node.map(walk);
      const { selectionBias } = node as { readonly selectionBias?: unknown };
      if (isTensor(selectionBias)) {
        const load = loads[used++];
        return load ? controller.update({ ...node, selectionBias }, load) : node;
      }
      return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, walk(child)]));
    };
    const next = walk(state) as State;
    if (used === loads.length && used > 0) return next;
    throw new ConfigError(
      `the state has ${used} selection biases, but the loss function gives ${loads.length} loads; ` +
        "give the routers a spec with bias: true, and return the load of each from the loss function",
      "control",
      used,
    );
  };
}
