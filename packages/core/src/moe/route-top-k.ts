import { DTypeError, ShapeError } from "../errors.ts";
import { pullBack } from "../gradient.ts";
import { type Op, defineOp } from "../op.ts";
import { requireDType, requireFloat, requireSameDType, requireShape } from "../ops/checks.ts";
import { zeros } from "../ops/creation.ts";
import type { Tensor } from "../tensor.ts";
import { checkRouteSpec } from "./check-spec.ts";
import {
  type RouteAttributes,
  runStages,
  scoreTokens,
  squashLogits,
  weighChoices,
} from "./stages.ts";

/**
 * Token-choice routing in one op. `logits [T, E]`, optional selection `bias [E]` and `mask [T, E]`
 * (false: may not be chosen) → `scores [T, E]`, `indices [T, k]` i32 by (selection score
 * descending, index ascending), `weights [T, k]`. The bias chooses and never weighs. A token with
 * fewer than k experts to choose from has index `E` and weight 0 in the other places.
 */
export const routeTopK: Op<
  [logits: Tensor, bias?: Tensor, mask?: Tensor],
  RouteAttributes,
  [scores: Tensor, indices: Tensor, weights: Tensor],
  []
> = /*#__PURE__*/ defineOp<
  [logits: Tensor, bias?: Tensor, mask?: Tensor],
  RouteAttributes,
  [scores: Tensor, indices: Tensor, weights: Tensor],
  []
>({
  name: "routeTopK",
  inputs: ["logits", "bias?", "mask?"],
  outputs: ["scores", "indices", "weights"],
  infer([logits, bias, mask], spec) {
    const [tokens, experts] = logits.shape;
    if (tokens === undefined || experts === undefined || logits.shape.length !== 2) {
      throw new ShapeError("routeTopK: logits must be [T, E]", {
        op: "routeTopK",
        shapes: [logits.shape],
      });
    }
    requireFloat("routeTopK", "logits", logits.dtype);
    checkRouteSpec({ ...spec, experts });
    const inputs = [logits, bias, mask];
    if (bias) {
      requireSameDType("routeTopK", logits, bias);
      requireShape("routeTopK", "bias", bias, [experts], inputs);
    }
    if (mask) {
      requireDType("routeTopK", "mask", mask.dtype, ["bool"]);
      requireShape("routeTopK", "mask", mask, logits.shape, inputs);
    }
    const { dtype } = logits;
    return [
      { shape: [tokens, experts], dtype },
      { shape: [tokens, spec.topK], dtype: "i32" },
      { shape: [tokens, spec.topK], dtype },
    ];
  },
  gradient({ inputs: [logits], attributes, outputs: [, indices], gradients: [scores, , weights] }) {
    return [routeTopKBackward(logits, indices, scores, weights, attributes)];
  },
  backward: () => routeTopKBackward,
  decompose: ([logits, bias, allowed], spec) => runStages(spec, { logits, bias, allowed }),
  replay([logits], spec, [indices]) {
    if (indices === undefined) throw new DTypeError("routeTopK: replay needs the kept indices");
    const [scores, weights] = scoresAndWeights(logits, indices, spec);
    return [scores, indices, weights];
  },
});

/** Gradient of {@link routeTopK} with respect to its logits, the choice held fixed. */
export const routeTopKBackward: Op<
  [logits: Tensor, indices: Tensor, scoresGradient?: Tensor, weightsGradient?: Tensor],
  RouteAttributes
> = /*#__PURE__*/ defineOp<
  [logits: Tensor, indices: Tensor, scoresGradient?: Tensor, weightsGradient?: Tensor],
  RouteAttributes
>({
  name: "routeTopKBackward",
  inputs: ["logits", "indices", "scoresGradient?", "weightsGradient?"],
  infer: ([logits]) => ({ shape: logits.shape, dtype: logits.dtype }),
  decompose([logits, indices, scoresGradient, weightsGradient], spec) {
    const [gradient] = pullBack(
      [logits],
      (traced) => scoresAndWeights(traced as Tensor, indices, spec),
      [scoresGradient, weightsGradient],
    );
    return gradient ?? zeros(logits.backend, logits.shape, logits.dtype);
  },
});

/** What follows from a choice that was made before. */
function scoresAndWeights(
  logits: Tensor,
  indices: Tensor,
  spec: RouteAttributes,
): [scores: Tensor, weights: Tensor] {
  const squashed = squashLogits(logits, spec);
  const scores = scoreTokens(squashed, spec);
  return [scores, weighChoices({ logits: squashed, scores, indices }, spec)];
}
