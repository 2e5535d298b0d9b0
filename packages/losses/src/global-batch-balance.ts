import {
  ConfigError,
  DTypeError,
  type Routing,
  type RoutingLoss,
  ShapeError,
  type Tensor,
  add,
  cast,
  formatShape,
  loadOf,
  mul,
  sum,
} from "@moiety/core";
import {
  type BalanceOptions,
  defineLoss,
  meanOfLayers,
  requireOption,
  requireTokenChoice,
} from "./options.ts";
import { type Counted, type Probabilities, choicesOf, probabilitiesOf } from "./product.ts";
import { countChoices, countTokens, meanBy, stretchesOf, sumTokens } from "./statistics.ts";
import { sumOverTarget } from "./target.ts";

/** Options of {@link globalBatchBalance}. */
export interface GlobalBatchBalanceOptions extends BalanceOptions {
  /**
   * Assignments counted elsewhere in the step, `[E]` i32 for each layer in the order of the routings:
   * those of its other micro-batches, or of other machines ({@link accumulateLoads}). The loss adds
   * those of the routings that it is given. None unless given.
   */
  readonly others?: readonly Tensor[] | undefined;
  /** `plain` (the default, Megatron-LM): the k best scores. `selected`: what the router selected. */
  readonly counts?: Counted | undefined;
  /** `scores` (the default): scores divided by their sum. `softmax`: a softmax of the logits. */
  readonly probabilities?: Probabilities | undefined;
}

/**
 * Global-batch balance: E · Σ_e f_e · P_e with f_e the share of assignments over the whole step, and
 * P_e the mean probability of the present micro-batch alone. So experts may specialise within a
 * micro-batch as long as the step is even. 1 when the step is balanced. The mean over layers; padding
 * is left out; f is a constant for the gradient.
 *
 * The loss keeps nothing: the counts of a step are an argument, and a loss is made for each
 * micro-batch. Either all others are counted first, or each micro-batch sees those before it, as in
 * Megatron-LM.
 *
 * Paper: Qiu et al., "Demons in the Detail" (2025). Source: Megatron-LM `router.py`,
 * `global_aux_loss`.
 * @throws ConfigError, ShapeError, DTypeError
 *
 * @example
 * let others: readonly Tensor[] | undefined;
 * for (const batch of step) {
 *   const balance = globalBatchBalance({ coefficient: 0.01, others });
 *   // … the gradient of this micro-batch; then, from its routings:
 *   others = accumulateLoads(others, routings);
 * }
 */
export function globalBatchBalance(options: GlobalBatchBalanceOptions): RoutingLoss {
  const name = "globalBatchBalance";
  const { others, counts = "plain", probabilities = "scores", target } = options;
  requireOption(name, "counts", counts, ["selected", "plain"]);
  requireOption(name, "probabilities", probabilities, ["scores", "softmax"]);
  return defineLoss(name, options, (routings) => {
    requireLayers(name, others, routings);
    let layer = 0;
    return meanOfLayers(routings, (given) => {
      const routing = requireTokenChoice(name, given);
      const stretches = stretchesOf(routing, "batch");
      const p = probabilitiesOf(routing, probabilities);
      const mean = meanBy(sumTokens(p, routing, stretches), countTokens(routing, stretches));
      const own = countChoices(choicesOf(routing, counts), routing, stretches);
      const other = others?.[layer++];
      const counted = other
        ? add(own, cast(requireLoad(name, other, routing), { dtype: own.dtype as "f32" | "f64" }))
        : own;
      const share = meanBy(counted, sum(counted, [1], true));
      return sumOverTarget(name, mul(share, mean), target, routing.experts).reshape([]);
    });
  });
}

/**
 * Adds the assignments of routings, one for each layer, to those counted before: `[E]` i32 for each
 * layer. Pure: nothing given is changed, and nothing is counted unless this is called, so evaluation
 * and recomputation count nothing. Padding never counts; counts have no gradient. `counts` as in the
 * loss that reads them: `plain` unless given.
 * @throws ConfigError, ShapeError, DTypeError
 */
export function accumulateLoads(
  before: readonly Tensor[] | undefined,
  routings: readonly Routing[],
  { counts = "plain" }: { readonly counts?: Counted | undefined } = {},
): Tensor[] {
  const name = "accumulateLoads";
  requireOption(name, "counts", counts, ["selected", "plain"]);
  requireLayers(name, before, routings);
  return routings.map((given, layer) => {
    const routing = requireTokenChoice(name, given);
    const earlier = before?.[layer];
    return routing.logits.backend.scope(() => {
      const load = loadOf({ ...routing, selected: choicesOf(routing, counts) });
      return earlier ? add(requireLoad(name, earlier, routing), load) : load;
    });
  });
}

function requireLayers(
  name: string,
  loads: readonly Tensor[] | undefined,
  routings: readonly Routing[],
): void {
  if (loads === undefined || loads.length === routings.length) return;
  throw new ConfigError(
    `${name} was given the counts of ${loads.length} layers, but the routings of ${routings.length}`,
    "others",
    loads.length,
  );
}

function requireLoad(name: string, load: Tensor, { experts }: Routing): Tensor {
  if (load.dtype !== "i32") {
    throw new DTypeError(`${name}: counts are ${load.dtype}, but must be i32; cast them`, {
      op: name,
    });
  }
  if (load.rank === 1 && load.size === experts) return load;
  throw new ShapeError(`${name}: counts are ${formatShape(load.shape)}, but must be [${experts}]`, {
    op: name,
    shapes: [load.shape],
  });
}
