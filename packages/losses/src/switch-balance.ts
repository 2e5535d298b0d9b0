import {
  type RoutingLoss,
  type Tensor,
  type TokenChoice,
  add,
  div,
  mul,
  softmax,
  stopGradient,
  sum,
  topK,
} from "@moiety/core";
import {
  type LossOptions,
  defineLoss,
  meanOfLayers,
  requireOption,
  requireTokenChoice,
} from "./options.ts";
import {
  countChoices,
  countTokens,
  meanBy,
  meanOfStretches,
  stretchesOf,
  sumTokens,
} from "./statistics.ts";

/** Options of {@link switchBalance}. */
export interface SwitchBalanceOptions extends LossOptions {
  /**
   * `batch` (the default): one mean over all tokens. `sequence`: each sequence for itself, then the
   * mean over the sequences (DeepSeek-V3's complementary loss).
   */
  readonly per?: "batch" | "sequence" | undefined;
  /**
   * `selected` (the default): what the router selected, before dropping. `plain`: the k best scores,
   * without bias, groups or noise (DeepSeek-V3's paper, Megatron-LM).
   */
  readonly counts?: "selected" | "plain" | undefined;
  /**
   * `scores` (the default): the router's scores divided by their sum, which changes nothing for a
   * softmax. `softmax`: a softmax of the logits.
   */
  readonly probabilities?: "scores" | "softmax" | undefined;
}

/**
 * Switch Transformer's balance loss, for any k: E · Σ_e f_e · P_e, with f_e the share of assignments
 * that went to expert e and P_e its mean probability. 1 when balanced, E/k when all tokens choose the
 * same experts with certainty. The mean over layers; padding is left out of f and P; f is a constant
 * for the gradient.
 *
 * Papers: Fedus, Zoph & Shazeer, "Switch Transformers" (2021), eq. 4; DeepSeek-AI, "DeepSeek-V3"
 * (2024), eq. 17–20. Source: Megatron-LM `moe_utils.py`, `switch_load_balancing_loss_func`.
 * @throws ConfigError
 */
export function switchBalance(options: SwitchBalanceOptions): RoutingLoss {
  const name = "switchBalance";
  const { per = "batch", counts = "selected", probabilities = "scores" } = options;
  requireOption(name, "per", per, ["batch", "sequence"]);
  requireOption(name, "counts", counts, ["selected", "plain"]);
  requireOption(name, "probabilities", probabilities, ["scores", "softmax"]);
  return defineLoss(name, options, (routings) =>
    meanOfLayers(routings, (layer) => {
      const routing = requireTokenChoice(name, layer);
      const stretches = stretchesOf(routing, per);
      const tokens = countTokens(routing, stretches);
      const chosen = counts === "selected" ? routing.selected : plainChoice(routing);
      const counted = countChoices(chosen, routing, stretches);
      const share = meanBy(counted, sum(counted, [1], true));
      const p = probabilities === "softmax" ? softmax(routing.logits) : normalized(routing.scores);
      const mean = meanBy(sumTokens(p, routing, stretches), tokens);
      const values = mul(sum(mul(share, mean), [1]), routing.experts);
      return meanOfStretches(values, tokens);
    }),
  );
}

/** The k best scores, whatever the router selected. */
function plainChoice({ scores, selected }: TokenChoice): Tensor {
  return topK(stopGradient(scores), undefined, { k: selected.shape[1] ?? 0 })[1];
}

/** Scores divided by their sum; all-zero scores stay zero (Megatron-LM adds the same 1e-20). */
function normalized(scores: Tensor): Tensor {
  return div(scores, add(sum(scores, [-1], true), 1e-20));
}
