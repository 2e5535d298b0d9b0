import {
  type RoutingLoss,
  type Tensor,
  type TokenChoice,
  add,
  div,
  erf,
  greater,
  mul,
  select,
  slice,
  sub,
  topK,
} from "@moiety/core";
import {
  type BalanceOptions,
  defineLoss,
  meanOfLayers,
  requireOption,
  requireTokenChoice,
} from "./options.ts";
import {
  type Stretches,
  countChoices,
  countTokens,
  meanOfStretches,
  stretchesOf,
  sumTokens,
} from "./statistics.ts";
import { type VariationOptions, requireVariation, squaredVariation } from "./variation.ts";

/** Options of {@link loadCv}. */
export interface LoadCvOptions extends BalanceOptions, VariationOptions {
  /**
   * What an expert's noisy logit must exceed. `others` (the default, Shazeer): the k-th best of the
   * other experts, so the (k+1)-th of all for one that is chosen, else the k-th. `chosen` (V-MoE):
   * the k-th of all.
   */
  readonly threshold?: "others" | "chosen" | undefined;
  /** `batch` (the default), or each sequence for itself (V-MoE's groups), then their mean. */
  readonly per?: "batch" | "sequence" | undefined;
}

/**
 * Load loss: the squared coefficient of variation of a smooth estimate of the load. The load of e is
 * Σ_t Φ((clean_te − threshold_te) / scale_te), the probability that e would be chosen again if its
 * noise were drawn anew, with Φ the normal distribution's. Gradients flow through clean logits,
 * scales and thresholds. 0 when even. Padding is left out; the mean over layers.
 *
 * It needs a router with noise. Without noise, as in evaluation, or with k = E, the load is the exact
 * count of choices: a constant without a gradient, as in the source (V-MoE leaves it out there).
 *
 * Paper: Shazeer et al., "Outrageously Large Neural Networks" (2017), appendix A. Source: tensor2tensor
 * `expert_utils.py`, `_ProbInTopK`, `cv_squared`. V-MoE's (vmoe `nn/routing.py`) is
 * `threshold: "chosen"`, `per: "sequence"`, `epsilon: 0`.
 * @throws ConfigError
 */
export function loadCv(options: LoadCvOptions): RoutingLoss {
  const name = "loadCv";
  const { threshold = "others", per = "batch", target } = options;
  requireOption(name, "threshold", threshold, ["others", "chosen"]);
  requireOption(name, "per", per, ["batch", "sequence"]);
  requireVariation(name, options);
  return defineLoss(name, options, (routings) =>
    meanOfLayers(routings, (layer) => {
      const routing = requireTokenChoice(name, layer);
      const stretches = stretchesOf(routing, per);
      const load = loadEstimate(routing, threshold, stretches);
      const values = squaredVariation(name, load, target, options);
      return meanOfStretches(values, countTokens(routing, stretches));
    }),
  );
}

/** `[S, E]`: how many tokens of each stretch an expert may expect. */
function loadEstimate(
  routing: TokenChoice,
  threshold: "others" | "chosen",
  stretches: Stretches,
): Tensor {
  const { logits, noise, selected, experts } = routing;
  const k = selected.shape[1] ?? 0;
  if (!noise || (threshold === "others" && k >= experts)) {
    return countChoices(selected, routing, stretches);
  }
  const limit = thresholds(logits, k, threshold);
  const { clean, scale } = noise;
  const spread = add(mul(scale, Math.SQRT2), 1e-20);
  const chance = mul(add(erf(div(sub(clean, limit), spread)), 1), 0.5);
  return sumTokens(chance, routing, stretches);
}

/** `[T, E]` or `[T, 1]`: what each expert's noisy logit has to exceed. */
function thresholds(noisy: Tensor, k: number, threshold: "others" | "chosen"): Tensor {
  const [tokens = 0] = noisy.shape;
  const [best] = topK(noisy, undefined, { k: threshold === "others" ? k + 1 : k });
  const ranked = (place: number): Tensor => slice(best, { starts: [0, place], sizes: [tokens, 1] });
  if (threshold === "chosen") return ranked(k - 1);
  const next = ranked(k);
  return select(greater(noisy, next), next, ranked(k - 1));
}
