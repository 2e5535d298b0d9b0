import type { RoutingLoss } from "@moiety/core";
import { type BalanceOptions, defineLoss, meanOfLayers, requireTokenChoice } from "./options.ts";
import { droppedToFirst, firstOf, gatesAt, loadProduct } from "./product.ts";

/**
 * The balance loss of Hugging Face's NLLB-MoE, quirks included: E · Σ_e f_e · P_e, where P_e is the
 * mean *combine weight* of e after dropping, 0 where a token does not go to e, and f_e the share of
 * tokens whose first choice is e, a dropped one counting as expert 0. 1 when balanced and nothing is
 * dropped, less where tokens are. The mean over layers; padding is left out; f is a constant for the
 * gradient.
 *
 * Source: transformers 4.57 `modeling_nllb_moe.py`, `load_balancing_loss_func` on what
 * `NllbMoeSparseMLP` returns.
 * @throws ConfigError
 */
export function nllbBalance(options: BalanceOptions): RoutingLoss {
  const name = "nllbBalance";
  return defineLoss(name, options, (routings) =>
    meanOfLayers(routings, (layer) => {
      const routing = requireTokenChoice(name, layer);
      const { indices, experts } = routing;
      return loadProduct(name, {
        routing,
        chosen: droppedToFirst(firstOf(indices), experts),
        probabilities: gatesAt(indices, routing),
        per: "batch",
        over: 1,
        target: options.target,
      });
    }),
  );
}
