import type { RoutingLoss } from "@moiety/core";
import { type ChoiceBalanceOptions, choiceBalance } from "./choice-balance.ts";

/**
 * Flaxformer's balance loss: E² · mean over groups and experts of (share of tokens that have e among
 * their k choices) · (mean probability of e). It does not divide by k: k (not 1) when balanced, E
 * when collapsed. Groups are the routing's sequences. Padding is left out of the means, where the
 * source divides by all tokens of a group. The mean over layers.
 *
 * Source: flaxformer `architectures/moe/routing.py`, `_load_balancing_loss`.
 * @throws ConfigError
 */
export function flaxformerBalance(options: ChoiceBalanceOptions): RoutingLoss {
  return choiceBalance("flaxformerBalance", options, {
    per: "sequence",
    counts: "selected",
    pick: (chosen) => ({ chosen, over: 1 }),
  });
}
