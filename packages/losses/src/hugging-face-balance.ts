import {
  ConfigError,
  type Routing,
  type RoutingLoss,
  type Tensor,
  add,
  mul,
  softmax,
  stopGradient,
  topK,
} from "@moiety/core";
import { type BalanceOptions, defineLoss, requireOption, requireTokenChoice } from "./options.ts";
import { countChoices, countTokens, meanBy, stretchesOf, sumTokens } from "./statistics.ts";
import { sumOverTarget } from "./target.ts";

/** Options of {@link huggingFaceBalance}. */
export interface HuggingFaceBalanceOptions extends BalanceOptions {
  /**
   * `logits` (the default): probabilities are a softmax of the logits, whatever the router scored
   * with. `scores`: they are the router's scores (dbrx).
   */
  readonly from?: "logits" | "scores" | undefined;
}

/**
 * `load_balancing_loss_func` of Hugging Face transformers (mixtral, qwen, olmoe, dbrx and others):
 * E · Σ_e f_e · P_e with f_e the choices of e per token and P_e its mean probability, both pooled
 * over all layers before they are multiplied. So layers that collapse onto different experts make up
 * for each other. k (not 1) when balanced. The choice is made again as the plain k best
 * probabilities, without bias or groups. Padding is left out; f is a constant for the gradient.
 *
 * Source: transformers `modeling_mixtral.py`; `modeling_dbrx.py` for `from: "scores"`.
 * @throws ConfigError
 */
export function huggingFaceBalance(options: HuggingFaceBalanceOptions): RoutingLoss {
  const name = "huggingFaceBalance";
  const { from = "logits" } = options;
  requireOption(name, "from", from, ["logits", "scores"]);
  return defineLoss(name, options, (routings) => {
    const { experts } = routings[0];
    const layers = routings.map((layer) => {
      const routing = requireTokenChoice(name, layer);
      requireEqualExperts(name, routing, experts);
      const stretches = stretchesOf(routing, "batch");
      const p = from === "logits" ? softmax(routing.logits) : routing.scores;
      const chosen = topK(stopGradient(p), undefined, { k: routing.selected.shape[1] ?? 0 })[1];
      return {
        choices: countChoices(chosen, routing, stretches),
        probability: sumTokens(p, routing, stretches),
        tokens: countTokens(routing, stretches),
      };
    });
    const pooled = (key: "choices" | "probability" | "tokens"): Tensor =>
      layers.map((layer) => layer[key]).reduce((total, value) => add(total, value));
    const tokens = pooled("tokens");
    const share = meanBy(pooled("choices"), tokens);
    const products = mul(share, meanBy(pooled("probability"), tokens));
    return sumOverTarget(name, products, options.target, experts).reshape([]);
  });
}

/** Throws unless a layer has as many experts as the first: pooled layers share their experts. */
export function requireEqualExperts(name: string, layer: Routing, experts: number): void {
  if (layer.experts === experts) return;
  throw new ConfigError(
    `${name} pools layers, but they have ${experts} and ${layer.experts} experts`,
    "routings",
    layer.experts,
  );
}
