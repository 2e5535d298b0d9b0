import { ConfigError, type Routing, type Tensor, slice } from "@moiety/core";
import {
  type BiasController,
  biasController,
  quantileController,
  reluController,
} from "@moiety/losses";
import type { DecoderRouterState, DecoderState } from "@moiety/models";
import { thresholdController } from "@moiety/routers";
import type { Control } from "@moiety/train";
import { balanceOf } from "./balances.ts";
import type { Settings } from "./settings.ts";

/** What one layer's router did in a step. */
interface LayerStep {
  /** `[E]` i32. */
  readonly load: Tensor;
  /** Of each micro-batch. */
  readonly routings: readonly Routing[];
  readonly tokens: number;
}

/** Turns a router's state into the next one; undefined where it is not for such a state. */
type LayerControl = (state: DecoderRouterState, step: LayerStep) => DecoderRouterState | undefined;

/** How fast learned thresholds follow, in runs of some hundred steps. */
const thresholdMomentum = 0.9;

/**
 * What changes the state of the sparse model's routers after each step: what `--balance` asks for, and
 * what a router cannot do without.
 */
export function routerControl(settings: Settings): Control<DecoderState> {
  const { balance, router, model } = settings;
  const chosen = balanceControl(settings);
  const own = [thresholdControl(), sparsityControl(model.numExperts, model.numExpertsPerTok)];
  return (state, loads, { routings, tokens = 0 }) => {
    let layer = 0;
    const layers = state.layers.map((block) => {
      const load = loads[layer];
      if (!block.moe || load === undefined) return block;
      const step = { load, routings: routings[layer] ?? [], tokens };
      layer++;
      const balanced = chosen ? chosen(block.moe.router, step) : block.moe.router;
      if (balanced === undefined) {
        throw new ConfigError(
          `--balance ${balance} moves a selection bias, which ${router} does not have: give another`,
          "balance",
          balance,
        );
      }
      const next = own.reduce((current, control) => control(current, step) ?? current, balanced);
      return { ...block, moe: { ...block.moe, router: next } };
    });
    return { ...state, layers };
  };
}

function balanceControl({ balance, model }: Settings): LayerControl | undefined {
  const { control } = balanceOf(balance);
  if (control === "bias") return biasControl(biasController({ rate: model.biasUpdateRate }));
  if (control === "quantile") return quantileControl();
  return undefined;
}

function biasControl(controller: BiasController): LayerControl {
  return (state, { load }) => {
    const { selectionBias, routedBias } = state as Readonly<Record<string, Tensor | undefined>>;
    if (selectionBias) return { ...state, ...controller.update({ selectionBias }, load) };
    if (!routedBias) return undefined;
    // Of the experts that are chosen; shared ones, which every token takes, come last.
    const chosen = slice(load, { starts: [0], sizes: [routedBias.size] });
    const moved = controller.update({ selectionBias: routedBias }, chosen);
    return { ...state, routedBias: moved.selectionBias };
  };
}

function quantileControl(): LayerControl {
  const controller = quantileController({ selectBy: "scores" });
  return (state, { routings }) => {
    const { selectionBias } = state;
    if (!selectionBias) return undefined;
    const estimates = routings.map((routing) => controller.estimate({ selectionBias }, routing));
    return { ...state, ...controller.update({ selectionBias }, estimates) };
  };
}

function thresholdControl(): LayerControl {
  const controller = thresholdController({ momentum: thresholdMomentum });
  return (state, { routings }) => {
    const { thresholds } = state as { readonly thresholds?: Tensor };
    return thresholds && { ...state, ...controller.update({ thresholds }, routings) };
  };
}

function sparsityControl(experts: number, topK: number): LayerControl {
  const controller = reluController({ experts, topK });
  return (state, { load, tokens }) => {
    const { sparsityCoefficient } = state as { readonly sparsityCoefficient?: Tensor };
    if (!sparsityCoefficient) return undefined;
    return { ...state, ...controller.update({ sparsityCoefficient }, load, tokens) };
  };
}
