import type { RoutingLoss } from "@moiety/core";
import { type ChoiceBalanceOptions, choiceBalance } from "./choice-balance.ts";

/**
 * DeepSeek-V3's complementary sequence-wise loss: for each sequence Σ_e f_e · P_e, with f_e = E/(k·T)
 * times the tokens that have e among the k best *unbiased* scores, and P_e the mean of the scores
 * divided by their sum; then the mean over sequences. 1 when each sequence is balanced. The mean over
 * layers; padding is left out. DeepSeek-V3's coefficient: 1e-4.
 *
 * Paper: DeepSeek-AI, "DeepSeek-V3" (2024), eq. 17–20.
 * @throws ConfigError
 */
export function sequenceBalance(options: ChoiceBalanceOptions): RoutingLoss {
  return choiceBalance("sequenceBalance", options, { per: "sequence", counts: "plain" });
}
