import {
  ConfigError,
  type RoutingLoss,
  type Tensor,
  add,
  less,
  mul,
  select,
  softmax,
  sum,
} from "@moiety/core";
import { requireEqualExperts } from "./hugging-face-balance.ts";
import { type LossOptions, defineLoss, requireTokenChoice } from "./options.ts";
import {
  countChoices,
  countTokens,
  meanBy,
  meanOfStretches,
  stretchesOf,
  sumTokens,
} from "./statistics.ts";

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
export function huggingFaceSwitchBalance(options: LossOptions): RoutingLoss {
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
        choices: countChoices(select(less(indices, experts), indices, 0), routing, stretches),
        probability: sumTokens(softmax(logits), routing, stretches),
        tokens: countTokens(routing, stretches),
      };
    });
    const pooled = (key: "choices" | "probability" | "tokens"): Tensor =>
      layers.map((layer) => layer[key]).reduce((total, value) => add(total, value));
    const tokens = pooled("tokens");
    const products = mul(meanBy(pooled("choices"), tokens), meanBy(pooled("probability"), tokens));
    return meanOfStretches(mul(sum(products, [1]), first.experts), tokens);
  });
}
