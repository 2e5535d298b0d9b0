import type { RoutingLoss } from "@moiety/core";
import { type ChoiceBalanceOptions, choiceBalance } from "./choice-balance.ts";

/**
 * DeepSeek's expert-level loss: Σ_e f_e · P_e with f_e = E/(k·T) · tokens that chose e, and P_e the
 * mean score. 1 when balanced. Each sequence for itself, then the mean over sequences, as the paper
 * and the published code (`seq_aux`) have it; `per: "batch"` is the code without `seq_aux`. Counts
 * what was actually selected. The mean over layers; padding is left out.
 *
 * Papers: Dai et al., "DeepSeekMoE" (2024), eq. 12–14; DeepSeek-AI, "DeepSeek-V2" (2024), eq. 23–25.
 * Source: `MoEGate` of the published `modeling_deepseek.py`.
 * @throws ConfigError
 */
export function deepseekExpertBalance(options: ChoiceBalanceOptions): RoutingLoss {
  return choiceBalance("deepseekExpertBalance", options, { per: "sequence", counts: "selected" });
}
