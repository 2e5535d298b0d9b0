import {
  type ExpertBank,
  type RouteSpec,
  type Tensor,
  UnsupportedError,
  add,
  full,
  mixExperts,
  mul,
  sub,
  sum,
} from "@moiety/core";
import { balancedAssignment } from "./assignment.ts";
import type { ShapesOf } from "./gate.ts";
import { type LinearRouter, linearRouter } from "./linear-router.ts";

/** Options of {@link baseRouter}. */
export interface BaseOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** Rounds of the auction in training; see `balancedAssignment`. */
  readonly rounds?: number | undefined;
  /**
   * Standard deviation of the initial centroids; 0.1/√H unless given, which gives rows about as long
   * as the source's orthogonal ones.
   */
  readonly initializerRange?: number | undefined;
}

/** What BASE is outside training, as data: the best logit, weighted by its sigmoid. */
export function baseSpec({ numExperts }: Pick<BaseOptions, "numExperts">): RouteSpec {
  return { experts: numExperts, topK: 1, score: "sigmoid", selectBy: "logits" };
}

/**
 * BASE layers: in training each expert takes T/E tokens, such that the sum of x · centroid over the
 * assignment is as large as possible ({@link balancedAssignment}: T must be a multiple of E, padding
 * counts in T but takes no place); outside training each token takes its best expert, and no token
 * sees another. The weight is α = σ(x · centroid); the layer's output is α · f(x) + (1 − α) · x, for
 * which the bank is wrapped in {@link baseExperts}. The source's shuffling of tokens between workers
 * has no place here.
 *
 * Paper: Lewis et al., "BASE Layers" (2021). Source: fairseq `modules/base_layer.py`.
 * @throws ConfigError
 */
export function baseRouter(options: BaseOptions): LinearRouter {
  const { hiddenSize, rounds, initializerRange = 0.1 / Math.sqrt(hiddenSize) } = options;
  return linearRouter({
    inputSize: hiddenSize,
    spec: baseSpec(options),
    initializerRange,
    acrossTokens: true,
    stages: ({ training, context: { mask } }) =>
      training
        ? {
            select: ({ logits }) =>
              balancedAssignment(logits, { rounds, mask }).reshape([logits.shape[0] ?? 0, 1]),
          }
        : {},
  });
}

/** A bank that says the shape of every leaf. */
export interface ShapedExperts<Params> extends ExpertBank<Params> {
  readonly shapes: ShapesOf<Params>;
}

/**
 * A bank whose output is mixed with its input: Σ w · f(x) + (1 − Σ w) · x, with w the weights of the
 * routing. A token without an expert stays as it is. For token-choice routings; on rows alone it is
 * the bank itself.
 *
 * Source: fairseq `modules/base_layer.py`, `BaseLayer.forward`.
 * @throws UnsupportedError where the bank's output is not as wide as its input, or is made elsewhere
 */
export function baseExperts<Params>(bank: ShapedExperts<Params>): ShapedExperts<Params>;
export function baseExperts<Params>(bank: ExpertBank<Params>): ExpertBank<Params>;
export function baseExperts<Params>(bank: ExpertBank<Params>): ExpertBank<Params> {
  const { ffn: _, remote, ...rest } = bank;
  if (bank.inputSize !== bank.outputSize) {
    throw new UnsupportedError(
      `baseExperts adds the input [T, ${bank.inputSize}] to the output [T, ${bank.outputSize}]; ` +
        "give a bank as wide as its input",
      "equal widths",
    );
  }
  if (remote) {
    throw new UnsupportedError(
      "baseExperts needs a bank that runs here; wrap it where it runs",
      "bank without remote",
    );
  }
  return {
    ...rest,
    mix(params, x, routing): Tensor {
      const kept = sub(full(x.backend, [1, 1], 1, x.dtype), sum(routing.outputWeights, [-1], true));
      return add(mixExperts(bank, params, x, routing), mul(kept, x));
    },
  };
}
