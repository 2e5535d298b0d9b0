import { ConfigError, ShapeError } from "../errors.ts";
import { mul, notEqual, select } from "../ops/arithmetic.ts";
import { onesLike } from "../ops/creation.ts";
import { formatShape, sameShape } from "../shape.ts";
import { type Tensor, isTensor, stopGradient } from "../tensor.ts";
import { applyCapacity } from "./capacity.ts";
import { checkRouteContext, checkRouteSpec } from "./check-spec.ts";
import { routeTopK } from "./route-top-k.ts";
import type { Carry, RouteContext, TokenChoice } from "./routing.ts";
import type { RouteSpec } from "./spec.ts";
import { type RouteAttributes, type RouteStages, renormalize, runStages } from "./stages.ts";

/** What the stages start from. */
export interface RouteInputs {
  /** `[T, E]` float32 at least. */
  readonly logits: Tensor;
  /** `[E]`, added for selection only; given exactly where the spec says `bias`. */
  readonly bias?: Tensor | undefined;
  /**
   * `[T, E]` bool: false where an expert may not be chosen. A token with fewer than k experts has
   * index `E` and weight 0 in the other places. One that has none needs a spec whose
   * renormalisation has an ε.
   */
  readonly allowed?: Tensor | undefined;
  /** What noise was added to the logits, for losses. */
  readonly noise?: TokenChoice["noise"];
  /** For a later router's `previous`. */
  readonly carry?: Carry | undefined;
}

/**
 * Runs the stages of a {@link RouteSpec}, or stages of your own, from logits to a finished routing.
 * Choices in `context.selected` are played back instead.
 * @throws ConfigError, ShapeError, DTypeError where spec, inputs and context do not fit together
 */
export function routeTokens(
  spec: RouteSpec,
  inputs: RouteInputs,
  context: RouteContext = {},
  stages?: RouteStages,
): TokenChoice {
  const { logits, bias, allowed, noise, carry } = inputs;
  checkInputs(spec, inputs, context);
  const { capacity, site, experts, ...attributes } = spec;
  const { selected: replayed } = context;
  const own = replayed ? { ...stages, select: () => stopGradient(replayed) } : stages;
  const [scores, selected, raw] = own
    ? runOwnStages(attributes, { logits, bias, allowed }, own)
    : routeTopK(logits, bias && stopGradient(bias), allowed, attributes);
  const indices = own?.capacity
    ? own.capacity({
        logits: stopGradient(logits),
        scores: stopGradient(scores),
        indices: selected,
        weights: stopGradient(raw),
      })
    : capacity
      ? applyCapacity(capacity, selected, raw, experts, context)
      : selected;
  const weights = finishWeights(spec, raw, indices === selected ? undefined : indices);
  return {
    kind: "token-choice",
    experts,
    logits,
    scores,
    indices,
    selected,
    outputWeights: site === "input" ? onesLike(weights) : weights,
    inputWeights: site === "input" ? weights : undefined,
    mask: context.mask,
    sequences: context.sequences,
    noise,
    carry,
  };
}

function checkInputs(spec: RouteSpec, { logits, bias }: RouteInputs, context: RouteContext): void {
  checkRouteSpec(spec);
  const [tokens = 0, experts] = logits.shape;
  if (logits.shape.length !== 2 || experts !== spec.experts) {
    throw new ShapeError(
      `logits are ${formatShape(logits.shape)}, but must be [T, ${spec.experts}]`,
      { shapes: [logits.shape] },
    );
  }
  if ((spec.bias ?? false) !== (bias !== undefined)) {
    throw new ConfigError(
      spec.bias
        ? "the spec selects with a bias, but none was given; pass the state that init made"
        : "a selection bias was given, but the spec does not say bias: true",
      "bias",
      spec.bias,
    );
  }
  checkRouteContext(context, tokens);
}

function runOwnStages(
  spec: RouteAttributes,
  inputs: Pick<RouteInputs, "logits" | "bias" | "allowed">,
  stages: RouteStages,
): [scores: Tensor, indices: Tensor, weights: Tensor] {
  const { logits } = inputs;
  const [tokens = 0] = logits.shape;
  const results = runStages(spec, inputs, stages);
  const [scores, indices, weights] = results;
  requireSpec("score", scores, logits.shape, logits.dtype);
  requireSpec("select", indices, [tokens, spec.topK], "i32");
  requireSpec("weight", weights, [tokens, spec.topK], logits.dtype);
  return results;
}

function requireSpec(
  stage: string,
  result: Tensor,
  shape: readonly number[],
  dtype: Tensor["dtype"],
): void {
  if (isTensor(result) && result.dtype === dtype && sameShape(result.shape, shape)) return;
  const given = isTensor(result) ? result.dtype + formatShape(result.shape) : String(result);
  throw new ShapeError(
    `the ${stage} stage gave ${given}, but must give ${dtype}${formatShape(shape)}`,
    { shapes: isTensor(result) ? [result.shape] : [] },
  );
}

/** Zeroes the weights of dropped choices, and renormalises the rest where the spec says so. */
function finishWeights(spec: RouteSpec, weights: Tensor, kept: Tensor | undefined): Tensor {
  const surviving = kept ? select(notEqual(kept, spec.experts), weights, 0) : weights;
  if (spec.renormalize?.when !== "after") return surviving;
  const normalized = renormalize(surviving, spec.renormalize);
  return spec.scale === undefined || spec.scale === 1 ? normalized : mul(normalized, spec.scale);
}
