import { ConfigError, leavesOf, slice } from "@moiety/core";
import { biasController, quantileController, reluController } from "@moiety/losses";
import type { DecoderState } from "@moiety/models";
import { thresholdController } from "@moiety/routers";
import {
  type Control,
  type LayerControl,
  biasControl,
  layerControl,
  quantileControl,
  sparsityControl,
} from "@moiety/train";
import { balanceOf } from "./balances.ts";
import type { Settings } from "./settings.ts";

/** Controls of routers, by the leaf of their state that they change. */
type Controls = Readonly<Record<string, LayerControl<DecoderState>>>;

/** How fast learned thresholds follow, in runs of some hundred steps. */
const thresholdMomentum = 0.9;

/**
 * What changes the state of the sparse model's routers after each step: what `--balance` asks for, and
 * what a router cannot do without.
 */
export function routerControl(settings: Settings): Control<DecoderState> {
  const { balance, router } = settings;
  const [asked, own] = [balanceControls(settings), ownControls(settings)];
  return (state, loads, observed) => {
    const names = new Set(leavesOf(state).map(({ path }) => path.slice(path.lastIndexOf(".") + 1)));
    const fitting = (controls: Controls): LayerControl<DecoderState>[] =>
      Object.entries(controls).flatMap(([leaf, control]) => (names.has(leaf) ? control : []));
    const [chosen] = fitting(asked);
    if (chosen === undefined && Object.keys(asked).length > 0) {
      throw new ConfigError(
        `--balance ${balance} moves a selection bias, which ${router} does not have: give another`,
        "balance",
        balance,
      );
    }
    const controls = [...(chosen === undefined ? [] : [chosen]), ...fitting(own)];
    return controls.reduce((current, control) => control(current, loads, observed), state);
  };
}

/** Of these the first that a router has a leaf for. */
function balanceControls({ balance, model }: Settings): Controls {
  const { control } = balanceOf(balance);
  if (control === "quantile") {
    return { selectionBias: quantileControl(quantileController({ selectBy: "scores" })) };
  }
  if (control !== "bias") return {};
  const controller = biasController({ rate: model.biasUpdateRate });
  return {
    selectionBias: biasControl(controller),
    routedBias: layerControl("routedBias", ({ routedBias: selectionBias }, { load }) => {
      // Of the experts that are chosen; shared ones, which every token takes, come last.
      const chosen = slice(load, { starts: [0], sizes: [selectionBias?.size ?? 0] });
      return { routedBias: controller.update({ selectionBias }, chosen).selectionBias };
    }),
  };
}

function ownControls({ model }: Settings): Controls {
  const thresholds = thresholdController({ momentum: thresholdMomentum });
  const { numExperts: experts, numExpertsPerTok: topK } = model;
  return {
    thresholds: layerControl("thresholds", (state, { routings }) =>
      thresholds.update(state, routings),
    ),
    sparsityCoefficient: sparsityControl(reluController({ experts, topK })),
  };
}
