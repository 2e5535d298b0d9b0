import type { RoutingLoss } from "@moiety/core";
import { type ChoiceBalanceOptions, choiceBalance } from "./choice-balance.ts";

/** Options of {@link switchBalance}: `per` batch and `counts` selected unless given. */
export type SwitchBalanceOptions = ChoiceBalanceOptions;

/**
 * Switch Transformer's balance loss, for any k: E · Σ_e f_e · P_e, with f_e the share of assignments
 * that went to expert e and P_e its mean probability. 1 when balanced, E/k when all tokens choose the
 * same experts with certainty. The mean over layers; padding is left out of f and P; f is a constant
 * for the gradient. With a target q it is Σ_e f_e · P_e / q_e.
 *
 * Papers: Fedus, Zoph & Shazeer, "Switch Transformers" (2021), eq. 4; DeepSeek-AI, "DeepSeek-V3"
 * (2024), eq. 17–20. Source: Megatron-LM `moe_utils.py`, `switch_load_balancing_loss_func`.
 * @throws ConfigError
 */
export function switchBalance(options: SwitchBalanceOptions): RoutingLoss {
  return choiceBalance("switchBalance", options, { per: "batch", counts: "selected" });
}
