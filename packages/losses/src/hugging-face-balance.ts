import {
  ConfigError,
  type Routing,
  type RoutingLoss,
  type Tensor,
  type TokenChoice,
  add,
  mul,
  putAlong,
  softmax,
  stopGradient,
  topK,
  zerosLike,
} from "@moiety/core";
import { type BalanceOptions, defineLoss, requireOption, requireTokenChoice } from "./options.ts";
import { countChoices, countTokens, meanBy, stretchesOf, sumTokens } from "./statistics.ts";
import { sumOverTarget } from "./target.ts";

/** Options of {@link huggingFaceBalance}. */
export interface HuggingFaceBalanceOptions extends BalanceOptions {
  /**
   * `logits` (the default): probabilities are a softmax of the logits, whatever the router scored
   * with. `scores`: they are the router's scores (dbrx). `weights`: they are a softmax of the weights
   * that outputs are multiplied with, 0 for experts that were not chosen (whole gpt-oss models of
   * release 4, whose code hands those on as logits).
   */
  readonly from?: "logits" | "scores" | "weights" | undefined;
}

/**
 * `load_balancing_loss_func` of Hugging Face transformers (mixtral, qwen, olmoe, dbrx and others):
 * E · Σ_e f_e · P_e with f_e the choices of e per token and P_e its mean probability, both pooled
 * over all layers before they are multiplied. So layers that collapse onto different experts make up
 * for each other. k (not 1) when balanced. The choice is made again as the plain k best
 * probabilities, without bias or groups. Padding is left out; f is a constant for the gradient.
 *
 * Source: transformers `modeling_mixtral.py`; `modeling_dbrx.py` for `from: "scores"`;
 * `modeling_gpt_oss.py` of release 4 for `from: "weights"`.
 * @throws ConfigError
 */
export function huggingFaceBalance(options: HuggingFaceBalanceOptions): RoutingLoss {
  const name = "huggingFaceBalance";
  const { from = "logits" } = options;
  requireOption(name, "from", from, ["logits", "scores", "weights"]);
  return defineLoss(name, options, (routings) => {
    const { experts } = routings[0];
    const layers = routings.map((layer) => {
      const routing = requireTokenChoice(name, layer);
      requireEqualExperts(name, routing, experts);
      const stretches = stretchesOf(routing, "batch");
      const p = probabilitiesOf(routing, from);
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

/** `[T, E]` what the loss takes for the router's probabilities. */
function probabilitiesOf(
  { logits, scores, indices, outputWeights }: TokenChoice,
  from: NonNullable<HuggingFaceBalanceOptions["from"]>,
): Tensor {
  if (from === "scores") return scores;
  if (from === "logits") return softmax(logits);
  return softmax(putAlong(zerosLike(logits), indices, outputWeights, { axis: 1 }));
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
