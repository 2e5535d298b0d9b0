import type { RoutingLoss } from "@moiety/core";
import { divergence, meanProbabilities, meanTokenEntropy } from "./entropy.ts";
import {
  type BalanceOptions,
  type LossOptions,
  defineLoss,
  meanOfLayers,
  requireOption,
} from "./options.ts";
import type { Probabilities } from "./product.ts";
import { countTokens, meanOfStretches, stretchesOf } from "./statistics.ts";

/** Options of {@link entropyLoss}. */
export interface EntropyLossOptions extends BalanceOptions {
  /** `batch` (the default), or each sequence for itself, then the mean over sequences. */
  readonly per?: "batch" | "sequence" | undefined;
  /**
   * `scores` (the default): the router's scores divided by their sum. `softmax`: a softmax of the
   * logits.
   */
  readonly probabilities?: Probabilities | undefined;
}

/**
 * Entropy of the load: log E − H(P), with P the mean probabilities of the experts and H their entropy
 * in nats. It is the divergence KL(P ‖ q) from the target q, even unless given. 0 when balanced, log E
 * when collapsed. It counts nothing, and so has the whole gradient of its value. The mean over layers;
 * padding is left out.
 * @throws ConfigError
 */
export function entropyLoss(options: EntropyLossOptions): RoutingLoss {
  const name = "entropyLoss";
  const { per = "batch", probabilities = "scores", target } = options;
  requireOption(name, "per", per, ["batch", "sequence"]);
  requireOption(name, "probabilities", probabilities, ["scores", "softmax"]);
  return defineLoss(name, options, (routings) =>
    meanOfLayers(routings, (routing) => {
      const stretches = stretchesOf(routing, per);
      const p = meanProbabilities(name, routing, probabilities, stretches);
      const values = divergence(name, p, target, routing.experts);
      return meanOfStretches(values, countTokens(routing, stretches));
    }),
  );
}

/** Options of {@link tokenEntropyLoss}. */
export interface TokenEntropyLossOptions extends LossOptions {
  /** As of {@link entropyLoss}. */
  readonly probabilities?: Probabilities | undefined;
}

/**
 * Mean entropy of the tokens' probabilities over experts, in nats: 0 when each token is certain, log E
 * when none prefers an expert. It balances nothing: a positive coefficient makes routers decided, a
 * negative one keeps them exploring. The mean over layers; padding is left out.
 * @throws ConfigError
 */
export function tokenEntropyLoss(options: TokenEntropyLossOptions): RoutingLoss {
  const name = "tokenEntropyLoss";
  const { coefficient, probabilities = "scores" } = options;
  requireOption(name, "probabilities", probabilities, ["scores", "softmax"]);
  return defineLoss(name, { coefficient }, (routings) =>
    meanOfLayers(routings, (routing) => {
      const stretches = stretchesOf(routing, "batch");
      return meanTokenEntropy(name, routing, probabilities, stretches).reshape([]);
    }),
  );
}
