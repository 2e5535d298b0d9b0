import {
  ConfigError,
  type RoutingLoss,
  type Tensor,
  add,
  mul,
  slice,
  softmax,
  stopGradient,
  sum,
  takeAlong,
  topK,
  zeros,
} from "@moiety/core";
import { requireEqualExperts } from "./hugging-face-balance.ts";
import { type LossOptions, defineLoss, requireTokenChoice } from "./options.ts";
import { countChoices, countTokens, meanBy, stretchesOf, sumTokens } from "./statistics.ts";

/**
 * The balance loss of Hugging Face's Doge, quirk included: E · Σ_e f_e · P_e with f_e the share of
 * assignments of expert e, and P_e not the mean probability of e but that of the e-th pair of keys
 * when each token's two halves are sorted, the best first: there the probabilities are never brought
 * back to the experts' numbers. Both are pooled over all layers before they are multiplied. 1 when
 * probabilities are even. Needs the logits of product keys: a sum of two halves. Padding is left
 * out; f is a constant for the gradient.
 *
 * Source: transformers 4.57 `modeling_doge.py`, `load_balancing_loss_func`.
 * @throws ConfigError
 */
export function dogeBalance(options: LossOptions): RoutingLoss {
  const name = "dogeBalance";
  return defineLoss(name, options, (routings) => {
    const { experts } = routings[0];
    const keys = keysOf(experts);
    const layers = routings.map((layer) => {
      const routing = requireTokenChoice(name, layer);
      requireEqualExperts(name, routing, experts);
      const stretches = stretchesOf(routing, "batch");
      const choices = countChoices(routing.selected, routing, stretches);
      const probabilities = sortedHalves(softmax(routing.logits), routing.logits, keys);
      return {
        choices,
        probability: sumTokens(probabilities, routing, stretches),
        tokens: countTokens(routing, stretches),
      };
    });
    const pooled = (key: "choices" | "probability" | "tokens"): Tensor =>
      layers.map((layer) => layer[key]).reduce((total, value) => add(total, value));
    const choices = pooled("choices");
    const share = meanBy(choices, sum(choices, [1], true));
    const mean = meanBy(pooled("probability"), pooled("tokens"));
    return mul(sum(mul(share, mean)), experts);
  });
}

/** K of E = K² product keys. @throws ConfigError */
function keysOf(experts: number): number {
  const keys = Math.round(Math.sqrt(experts));
  if (keys * keys === experts) return keys;
  throw new ConfigError(
    `dogeBalance: ${experts} experts are no square number, as product keys make them`,
    "experts",
    experts,
  );
}

/** `values [T, K²]` in the order of the sorted halves of `logits`, the best first. */
function sortedHalves(values: Tensor, logits: Tensor, keys: number): Tensor {
  const [tokens = 0] = logits.shape;
  const shape = [tokens, keys, keys];
  const still = stopGradient(logits).reshape(shape);
  const filled = zeros(logits.backend, shape, "i32");
  // One column orders the first half, and one row the second: what is added is the same for all.
  const order = (sizes: readonly number[]): Tensor => {
    const half = slice(still, { starts: [0, 0, 0], sizes }).reshape([tokens, keys]);
    const best = topK(half, undefined, { k: keys })[1];
    return add(best.reshape(sizes), filled);
  };
  const rows = order([tokens, keys, 1]);
  const columns = order([tokens, 1, keys]);
  const sorted = takeAlong(values.reshape(shape), rows, { axis: 1, unique: true });
  return takeAlong(sorted, columns, { axis: 2, unique: true }).reshape(values.shape);
}
