import type { RoutingLoss, Tensor } from "@moiety/core";
import {
  type BalanceOptions,
  defineLoss,
  meanOfLayers,
  requireOption,
  requireTokenChoice,
} from "./options.ts";
import {
  type Counted,
  type Probabilities,
  choicesOf,
  loadProduct,
  probabilitiesOf,
} from "./product.ts";

/** Options of balance losses that are a product of shares and mean probabilities. */
export interface ChoiceBalanceOptions extends BalanceOptions {
  /**
   * `batch`: one mean over all tokens. `sequence`: each sequence for itself, then the mean over the
   * sequences. The default is that of the loss's source.
   */
  readonly per?: "batch" | "sequence" | undefined;
  /**
   * `selected`: what the router selected, before dropping. `plain`: the k best scores, without bias,
   * groups or noise. The default is that of the loss's source.
   */
  readonly counts?: Counted | undefined;
  /**
   * `scores` (the default): the router's scores divided by their sum, which changes nothing for a
   * softmax. `softmax`: a softmax of the logits, for routers whose scores are the logits.
   */
  readonly probabilities?: Probabilities | undefined;
}

/** What is counted of the choices `[T, k]`, and what the counts are divided by. */
export interface CountedChoices {
  readonly chosen: Tensor;
  readonly over: "assignments" | number;
}

/** What a balance loss of this form is made of, beside its options. */
export interface ChoiceBalance {
  readonly per: "batch" | "sequence";
  readonly counts: Counted;
  /** What of the choices counts; all assignments unless given. `kept` is what found a place. */
  readonly pick?: ((choices: Tensor, kept: Tensor) => CountedChoices) | undefined;
  /** Whether shares are rounded to float32 in a float64 run too. */
  readonly roundShares?: boolean | undefined;
}

/** Makes a loss Σ_e f_e · P_e / q_e, averaged over layers. @throws ConfigError */
export function choiceBalance(
  name: string,
  options: ChoiceBalanceOptions,
  form: ChoiceBalance,
): RoutingLoss {
  const { per = form.per, counts = form.counts, probabilities = "scores", target } = options;
  const { pick = allAssignments, roundShares } = form;
  requireOption(name, "per", per, ["batch", "sequence"]);
  requireOption(name, "counts", counts, ["selected", "plain"]);
  requireOption(name, "probabilities", probabilities, ["scores", "softmax"]);
  return defineLoss(name, options, (routings) =>
    meanOfLayers(routings, (layer) => {
      const routing = requireTokenChoice(name, layer);
      return loadProduct(name, {
        routing,
        ...pick(choicesOf(routing, counts), routing.indices),
        probabilities: probabilitiesOf(routing, probabilities),
        per,
        target,
        roundShares,
      });
    }),
  );
}

function allAssignments(chosen: Tensor): CountedChoices {
  return { chosen, over: "assignments" };
}
