import { type RoutingLoss, add } from "@moiety/core";
import {
  entropyOf,
  meanOfMeans,
  meanProbabilities,
  meanTokenEntropy,
  negativeEntropy,
} from "./entropy.ts";
import { type BalanceOptions, defineLoss, meanOfLayers, requireOption } from "./options.ts";
import type { Probabilities } from "./product.ts";
import { countTokens, meanOfStretches, stretchesOf } from "./statistics.ts";

/** Options of {@link mutualInformation}. */
export interface MutualInformationOptions extends BalanceOptions {
  /**
   * What experts shall tell apart: `tokens` (the default), or `sequences`, each of which counts the
   * same (a task each in Mod-Squad).
   */
  readonly of?: "tokens" | "sequences" | undefined;
  /**
   * `scores` (the default): the router's scores divided by their sum. `softmax`: a softmax of the
   * logits.
   */
  readonly probabilities?: Probabilities | undefined;
}

/**
 * The negative mutual information of tokens and experts, in nats: −I = H̄ − H(P), with H̄ the mean
 * entropy of each token's probabilities and H(P) that of their mean P. −log E at best, where tokens
 * are certain and experts used evenly; 0 where all tokens are alike. With a target q, H(P) becomes
 * log E − KL(P ‖ q). The mean over layers; padding is left out.
 *
 * Papers: Shen et al., "ModuleFormer" (2023), of tokens; Chen et al., "Mod-Squad" (2023), of tasks
 * (`of: "sequences"`).
 * @throws ConfigError
 */
export function mutualInformation(options: MutualInformationOptions): RoutingLoss {
  const name = "mutualInformation";
  const { of = "tokens", probabilities = "scores", target } = options;
  requireOption(name, "of", of, ["tokens", "sequences"]);
  requireOption(name, "probabilities", probabilities, ["scores", "softmax"]);
  return defineLoss(name, options, (routings) =>
    meanOfLayers(routings, (routing) => {
      const stretches = stretchesOf(routing, of === "tokens" ? "batch" : "sequence");
      const tokens = countTokens(routing, stretches);
      const means = meanProbabilities(name, routing, probabilities, stretches);
      const within =
        of === "tokens"
          ? meanTokenEntropy(name, routing, probabilities, stretches)
          : meanOfStretches(entropyOf(means), tokens);
      const whole = negativeEntropy(name, meanOfMeans(means, tokens), target, routing.experts);
      return add(within.reshape([]), whole.reshape([]));
    }),
  );
}
