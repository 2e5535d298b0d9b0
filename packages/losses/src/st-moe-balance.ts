import type { RoutingLoss } from "@moiety/core";
import { type ChoiceBalanceOptions, choiceBalance } from "./choice-balance.ts";
import { firstChoices } from "./gshard-balance.ts";

/** Options of {@link stMoeBalance}: what is counted is fixed. */
export type StMoeBalanceOptions = Omit<ChoiceBalanceOptions, "counts">;

/**
 * The balance loss of lucidrains' ST-MoE: for each sequence E · Σ_e c_e · m_e, with c_e the share of
 * tokens whose first choice is expert e *and found a place there*, and m_e its mean probability; then
 * the mean over sequences. 1 when balanced and no first choice is dropped, less where one is. The mean
 * over layers; padding is left out; c is a constant for the gradient.
 *
 * Source: lucidrains/st-moe-pytorch `st_moe_pytorch.py`, `TopNGating`: its `mask_1` is a view of what
 * dropping changes in place, which is why dropped choices count nowhere. The source has no such loss
 * outside training. Paper: Zoph et al., "ST-MoE" (2022), which counts before dropping
 * ({@link gshardBalance}).
 * @throws ConfigError
 */
export function stMoeBalance(options: StMoeBalanceOptions): RoutingLoss {
  const { coefficient, per, probabilities, target } = options;
  return choiceBalance(
    "stMoeBalance",
    { coefficient, per, probabilities, target },
    { per: "sequence", counts: "selected", pick: (_, kept) => firstChoices(kept) },
  );
}
