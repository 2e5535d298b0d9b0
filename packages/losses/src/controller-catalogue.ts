import { biasController } from "./bias-controller.ts";
import type { ControllerEntry } from "./catalogue.ts";
import { quantileController } from "./quantile-controller.ts";
import { reluController } from "./relu-controller.ts";

/** Every controller of this package, as data. */
export const controllerCatalogue: readonly ControllerEntry[] = [
  {
    name: "biasController",
    summary: "steps each selection bias towards the mean load",
    formula: "b += u · sign(mean(c) − c)",
    source: "Wang et al. 2024; DeepSeek-V3 2024",
    reads: "loads",
    make: biasController,
  },
  {
    name: "quantileController",
    summary: "sets each selection bias to what would have evened the load",
    formula: "b = −quantile(l − α)",
    source: "Megatron-LM qb_dual_update",
    reads: "routings",
    make: quantileController,
  },
  {
    name: "reluController",
    summary: "steps ReMoE's λ towards a share of zeros",
    formula: "λ · a^sign(1 − k/E − S)",
    source: "Wang et al. 2024",
    reads: "loads and tokens",
    make: reluController,
  },
];
