import {
  type Routing,
  type RoutingLoss,
  type Tensor,
  add,
  div,
  mean,
  putAlong,
  square,
  sub,
  zeros,
} from "@moiety/core";
import {
  type LossOptions,
  defineLoss,
  meanOfLayers,
  requireOption,
  requireTokenChoice,
} from "./options.ts";
import { floatOf, stretchesOf, sumTokens } from "./statistics.ts";

/** Options of {@link importanceCv}. */
export interface ImportanceCvOptions extends LossOptions {
  /** `weights` (the default): of the chosen experts alone. `scores`: of all experts (V-MoE). */
  readonly of?: "weights" | "scores" | undefined;
}

/**
 * Importance loss: the squared coefficient of variation of the experts' importance, which is the sum
 * of their weights over tokens: CV² = variance / (mean² + 1e-10), with the population's variance.
 * 0 when even. Padding is left out; the mean over layers.
 *
 * Paper: Shazeer et al., "Outrageously Large Neural Networks" (2017), eq. 6–7. Source: tensor2tensor
 * `expert_utils.py`, `cv_squared`.
 * @throws ConfigError
 */
export function importanceCv(options: ImportanceCvOptions): RoutingLoss {
  const name = "importanceCv";
  const { of = "weights" } = options;
  requireOption(name, "of", of, ["weights", "scores"]);
  return defineLoss(name, options, (routings) =>
    meanOfLayers(routings, (routing) => {
      const gates = of === "scores" ? routing.scores : gatesOf(name, routing);
      return squaredVariation(sumTokens(gates, routing, stretchesOf(routing, "batch")));
    }),
  );
}

/** `[T, E]`: each token's weights at its experts, 0 elsewhere. */
function gatesOf(name: string, layer: Routing): Tensor {
  const { logits, selected, inputWeights, outputWeights } = requireTokenChoice(name, layer);
  // Where weights apply to inputs, those of outputs are all 1.
  const weights = inputWeights ?? outputWeights;
  const empty = zeros(logits.backend, logits.shape, floatOf(weights));
  return putAlong(empty, selected, weights, { axis: 1 });
}

function squaredVariation(values: Tensor): Tensor {
  const centre = mean(values);
  const variance = mean(square(sub(values, centre)));
  return div(variance, add(square(centre), 1e-10));
}
