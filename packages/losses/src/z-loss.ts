import { type RoutingLoss, logSumExp, square } from "@moiety/core";
import { type LossOptions, defineLoss, meanOfLayers } from "./options.ts";
import { countTokens, meanBy, stretchesOf, sumTokens } from "./statistics.ts";

/**
 * Router z-loss: the mean over tokens of (log Σ_e exp logit_e)², which keeps logits small. Padding is
 * left out; the mean over layers.
 *
 * Paper: Zoph et al., "ST-MoE" (2022), eq. 5. Source: transformers
 * `modeling_switch_transformers.py`, `router_z_loss_func`.
 * @throws ConfigError
 */
export function zLoss(options: LossOptions): RoutingLoss {
  return defineLoss("zLoss", options, (routings) =>
    meanOfLayers(routings, (routing) => {
      const { logits } = routing;
      const stretches = stretchesOf(routing, "batch");
      const squares = square(logSumExp(logits)).reshape([logits.shape[0] ?? 0, 1]);
      const mean = meanBy(sumTokens(squares, routing, stretches), countTokens(routing, stretches));
      return mean.reshape([]);
    }),
  );
}
