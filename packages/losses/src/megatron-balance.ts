import type { RoutingLoss } from "@moiety/core";
import { type ChoiceBalanceOptions, choiceBalance } from "./choice-balance.ts";

/**
 * Megatron-LM's balance loss: E / (k·T²) · Σ_e (Σ_t p_te) · count_e, with p the scores divided by
 * their sum and counts those of the plain k best p: without bias, groups, noise or drops. 1 when
 * balanced, for any k. `per: "sequence"` is its `seq_aux_loss`; {@link globalBatchBalance} its
 * `global_aux_loss`. Padding is left out.
 *
 * Megatron's functions return coefficient · value; here `evaluate` gives the value, and `totalLoss`
 * multiplies. For routers whose scores are the logits give `probabilities: "softmax"`.
 *
 * Source: Megatron-LM `moe_utils.py`, `switch_load_balancing_loss_func` and
 * `compute_routing_scores_for_aux_loss`.
 * @throws ConfigError
 */
export function megatronBalance(options: ChoiceBalanceOptions): RoutingLoss {
  return choiceBalance("megatronBalance", options, { per: "batch", counts: "plain" });
}

/**
 * MegaBlocks' balance loss: E / (L·T·k) · Σ over layers and experts of count · mean probability, so
 * the mean over L layers of E · Σ_e f_e · P_e. Counts are those of the selected, before dropping. 1
 * when balanced. As {@link megatronBalance}, the source multiplies by its coefficient already.
 *
 * Source: MegaBlocks `layers/moe.py`, `batched_load_balancing_loss`.
 * @throws ConfigError
 */
export function megablocksBalance(options: ChoiceBalanceOptions): RoutingLoss {
  return choiceBalance("megablocksBalance", options, { per: "batch", counts: "selected" });
}
