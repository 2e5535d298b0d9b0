import type { RoutingLoss, Tensor } from "@moiety/core";
import { type ChoiceBalanceOptions, type CountedChoices, choiceBalance } from "./choice-balance.ts";
import { requireOption } from "./options.ts";
import { firstOf } from "./product.ts";

/** Options of {@link gshardBalance}: `per` batch and `counts` selected unless given. */
export interface GshardBalanceOptions extends ChoiceBalanceOptions {
  /**
   * `exact` (the default), or `float32`: shares of tokens are rounded to float32 in a float64 run
   * too, as those of V-MoE's code are.
   */
  readonly shares?: "exact" | "float32" | undefined;
}

/**
 * GShard's balance loss: E² · mean_e(c_e · m_e) = E · Σ_e c_e · m_e, with c_e the share of tokens
 * whose *first* choice is expert e, whatever k, and m_e its mean probability. 1 when balanced, E when
 * collapsed. The mean over layers; padding is left out; c is a constant for the gradient. Over the
 * batch unless `per: "sequence"` takes each of GShard's groups for itself.
 *
 * Paper: Lepikhin et al., "GShard" (2020), algorithm 1. Source: vmoe `nn/routing.py`,
 * `_gshard_auxiliary_loss` (the E² is not in the paper; lingvo's code has it).
 * @throws ConfigError
 */
export function gshardBalance(options: GshardBalanceOptions): RoutingLoss {
  const name = "gshardBalance";
  const { shares = "exact" } = options;
  requireOption(name, "shares", shares, ["exact", "float32"]);
  return choiceBalance(name, options, {
    per: "batch",
    counts: "selected",
    pick: firstChoices,
    roundShares: shares === "float32",
  });
}

/** The first choice of each token, over tokens. */
export function firstChoices(choices: Tensor): CountedChoices {
  return { chosen: firstOf(choices), over: 1 };
}
