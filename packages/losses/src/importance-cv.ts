import { type Routing, type RoutingLoss, type Tensor, softmax, sameShape } from "@moiety/core";
import {
  type BalanceOptions,
  defineLoss,
  meanOfLayers,
  requireOption,
  requireTokenChoice,
} from "./options.ts";
import { type VariationOptions, requireVariation, squaredVariation } from "./variation.ts";
import { gatesAt } from "./product.ts";
import { countTokens, meanOfStretches, stretchesOf, sumTokens } from "./statistics.ts";

/** Options of {@link importanceCv}. */
export interface ImportanceCvOptions extends BalanceOptions, VariationOptions {
  /**
   * `weights` (the default): of the chosen experts alone. `scores`: of all experts. `cleanScores`: of
   * all experts, before noise was added to the logits (V-MoE).
   */
  readonly of?: "weights" | "scores" | "cleanScores" | undefined;
  /** `batch` (the default), or each sequence for itself (V-MoE's groups), then their mean. */
  readonly per?: "batch" | "sequence" | undefined;
}

/**
 * Importance loss: the squared coefficient of variation of the experts' importance, which is the sum
 * of their weights over tokens: CV² = variance / (mean² + 1e-10), with the population's variance.
 * 0 when even. Padding is left out; the mean over layers.
 *
 * Paper: Shazeer et al., "Outrageously Large Neural Networks" (2017), eq. 6–7. Source: tensor2tensor
 * `expert_utils.py`, `cv_squared`. V-MoE's (vmoe `nn/routing.py`) is `of: "cleanScores"`,
 * `per: "sequence"`, `epsilon: 0`.
 * @throws ConfigError
 */
export function importanceCv(options: ImportanceCvOptions): RoutingLoss {
  const name = "importanceCv";
  const { of = "weights", per = "batch", target } = options;
  requireOption(name, "of", of, ["weights", "scores", "cleanScores"]);
  requireOption(name, "per", per, ["batch", "sequence"]);
  requireVariation(name, options);
  return defineLoss(name, options, (routings) =>
    meanOfLayers(routings, (routing) => {
      const stretches = stretchesOf(routing, per);
      const importance = sumTokens(gatesOf(name, routing, of), routing, stretches);
      const values = squaredVariation(name, importance, target, options);
      return meanOfStretches(values, countTokens(routing, stretches));
    }),
  );
}

/** `[T, E]`. */
function gatesOf(name: string, routing: Routing, of: "weights" | "scores" | "cleanScores"): Tensor {
  if (of === "cleanScores" && routing.noise) return softmax(routing.noise.clean);
  if (of !== "weights") return routing.scores;
  const choice = requireTokenChoice(name, routing);
  const { selected, indices, outputWeights } = choice;
  // A router with a varying count has weights for the places it fills, not for all that it wanted.
  return gatesAt(sameShape(selected.shape, outputWeights.shape) ? selected : indices, choice);
}
