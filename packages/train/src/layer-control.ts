import { ConfigError, type Routing, type Tensor, isTensor } from "@moiety/core";
import type { Observed } from "./loss.ts";

/** What one layer's router did in a step. */
export interface LayerStep {
  /** `[E]` i32. */
  readonly load: Tensor;
  /** Of each micro-batch; none where the loss function gives no routings. */
  readonly routings: readonly Routing[];
}

/** A control that also runs without what only some controllers read. */
export type LayerControl<State> = (
  state: State,
  loads: readonly Tensor[],
  observed?: Observed,
) => State;

/**
 * Makes the control of a loop from what changes the state of one router: every part of the state that
 * holds the leaf of that name is replaced by what `update` makes of it and of its layer's step. Such
 * parts are taken in the order of the state's layers, loads and routings in the order in which the
 * loss function gives them; layers without the leaf have none there.
 *
 * @throws ConfigError, when it runs, where there are not as many leaves as loads, or routings
 *
 * @example
 * const controller = thresholdController();
 * const control = layerControl("thresholds", (state, { routings }) =>
 *   controller.update(state, routings),
 * );
 */
export function layerControl<State>(
  leaf: string,
  update: (state: Readonly<Record<string, Tensor | undefined>>, step: LayerStep) => object,
): LayerControl<State> {
  return (state, loads, observed) => {
    const routings = observed?.routings ?? [];
    let used = 0;
    const walk = (node: unknown): unknown => {
      if (isTensor(node) || typeof node !== "object" || node === null) return node;
      if (Array.isArray(node)) return node.map(walk);
      if (isTensor((node as Readonly<Record<string, unknown>>)[leaf])) {
        const layer = used++;
        const load = loads[layer];
        const own = node as Readonly<Record<string, Tensor | undefined>>;
        return load ? { ...own, ...update(own, { load, routings: routings[layer] ?? [] }) } : node;
      }
      return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, walk(child)]));
    };
    const next = walk(state) as State;
    const fits = used === loads.length && (routings.length === 0 || routings.length === used);
    if (fits && used > 0) return next;
    throw new ConfigError(
      `the state has ${used} leaves ${leaf}, but the loss function gives ${loads.length} loads and ` +
        `the routings of ${routings.length} layers; give the load (and, if any, the routing) of each ` +
        `router with ${leaf} in its state, and of no other`,
      "control",
      used,
    );
  };
}
