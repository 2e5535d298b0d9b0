import { ConfigError, type RoutingLoss, type Tensor, add, mul, softmax } from "@moiety/core";
import { requireEqualExperts } from "./hugging-face-balance.ts";
import { type BalanceOptions, defineLoss, requireTokenChoice } from "./options.ts";
import { droppedToFirst } from "./product.ts";
import {
  countChoices,
  countTokens,
  meanBy,
  meanOfStretches,
  stretchesOf,
  sumTokens,
} from "./statistics.ts";
import { sumOverTarget } from "./target.ts";

/**
 * The balance loss of Hugging Face's Switch Transformer, quirks included: for each sequence
 * E · Σ_e f_e · P_e over the tokens of all layers, then the mean over sequences; a dropped token
 * counts as one of expert 0. 1 when balanced. For routers with k = 1. Padding, which the source
 * counts, is left out where the routing has a mask; f is a constant for the gradient.
 *
 * Source: transformers 4.57 `modeling_switch_transformers.py`, `load_balancing_loss_func` on the
 * indices that `SwitchTransformersSparseMLP` returns.
 * @throws ConfigError
 */
export function huggingFaceSwitchBalance(options: BalanceOptions): RoutingLoss {
  const name = "huggingFaceSwitchBalance";
  return defineLoss(name, options, (routings) => {
    const [first] = routings;
    const stretches = stretchesOf(first, "sequence");
    const layers = routings.map((layer) => {
      const routing = requireTokenChoice(name, layer);
      requireEqualExperts(name, routing, first.experts);
      const { indices, experts, logits } = routing;
      if (indices.shape[1] !== 1) {
        throw new ConfigError(`${name} is for one expert per token`, "topK", indices.shape[1]);
      }
      if (stretchesOf(routing, "sequence").lengths.join() !== stretches.lengths.join()) {
        throw new ConfigError(
          `${name} pools layers of equal sequences`,
          "sequences",
          routing.sequences,
        );
      }
      return {
        choices: countChoices(droppedToFirst(indices, experts), routing, stretches),
        probability: sumTokens(softmax(logits), routing, stretches),
        tokens: countTokens(routing, stretches),
      };
    });
    const pooled = (key: "choices" | "probability" | "tokens"): Tensor =>
      layers.map((layer) => layer[key]).reduce((total, value) => add(total, value));
    const tokens = pooled("tokens");
    const products = mul(meanBy(pooled("choices"), tokens), meanBy(pooled("probability"), tokens));
    return meanOfStretches(sumOverTarget(name, products, options.target, first.experts), tokens);
  });
}
