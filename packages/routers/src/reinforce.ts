import {
  type InitOptions,
  type RandomKey,
  type RouteContext,
  type RouteStages,
  type Tensor,
  add,
  cast,
  constantParameter,
  div,
  less,
  matmul,
  stopGradient,
  topK,
} from "@moiety/core";
import { stageDraws } from "./draws.ts";
import { type Gate, routerParameter } from "./gate.ts";
import { type LinearGateParams, linearGate } from "./linear-gate.ts";
import { refuseOption } from "./option.ts";
import { type StageCall, type StagedRouter, stagedRouter } from "./staged-router.ts";

/** Options of {@link reinforceRouter}. */
export interface ReinforceOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** k; 1 unless given. */
  readonly numExpertsPerTok?: number | undefined;
  /**
   * Weights of the chosen: `uniform` (1/k, the default), so that the loss reaches the router through
   * rewards alone, or `probability`, their softmax, which the loss's own gradient reaches too.
   */
  readonly weight?: "uniform" | "probability" | undefined;
  /** Whether a linear head learns to foretell the reward. True unless given. */
  readonly baseline?: boolean | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** Parameters of a {@link reinforceRouter}. */
export interface ReinforceParams extends LinearGateParams {
  /** `[1, H]`, with `baseline`: the head that foretells the reward. */
  readonly baseline?: Tensor | undefined;
  /** `[1]`, with `baseline`. */
  readonly baselineBias?: Tensor | undefined;
}

/**
 * A router that learns from rewards: π = softmax(x · Wᵀ); in training k experts are drawn from π
 * without replacement (the k best of logits + Gumbel noise), otherwise the k best are taken. The
 * choice itself has no gradient: `reinforceLoss` of `@moiety/losses` gives the router −(reward −
 * baseline) · ∇ log π.
 *
 * The baseline is a parameter: b = sg(x) · vᵀ + c, one number for each token, in the routing's
 * `carry.reinforceBaseline [T, 1]`; it starts from 0, learns by the squared error of the same loss,
 * and sends no gradient into x. Training needs `context.key`, or standard Gumbel `context.noise
 * [T, E]`. No token sees another.
 *
 * Papers: Williams, "Simple statistical gradient-following algorithms" (1992); Clark et al., "Unified
 * scaling laws for routed language models" (2022), RL-R.
 * @throws ConfigError
 */
export function reinforceRouter(options: ReinforceOptions): StagedRouter<ReinforceParams> {
  const { numExperts, numExpertsPerTok = 1, weight = "uniform" } = options;
  if (!["uniform", "probability"].includes(weight)) {
    throw refuseOption("weight", weight, "uniform or probability");
  }
  return stagedRouter({
    gate: reinforceGate(options),
    spec: { experts: numExperts, topK: numExpertsPerTok, score: "softmax", selectBy: "logits" },
    stages: (call) => reinforceStages(call, weight),
  });
}

function reinforceStages(call: StageCall, weight: "uniform" | "probability"): RouteStages {
  return {
    ...(call.training && {
      select: ({ logits, allowed }, { topK: k }) =>
        topK(add(logits, stageDraws(call, "gumbel", logits.shape, logits)), allowed, { k })[1],
    }),
    ...(weight === "uniform" && {
      weight: ({ logits, indices }, { topK: k }) =>
        div(cast(less(indices, logits.shape[1] ?? 0), { dtype: logits.dtype }), k),
    }),
  };
}

/** A linear gate, and beside it the head of the baseline. */
function reinforceGate({
  hiddenSize,
  numExperts,
  baseline = true,
  initializerRange,
}: ReinforceOptions): Gate<ReinforceParams> {
  const gate = linearGate({ experts: numExperts, inputSize: hiddenSize, initializerRange });
  const shape = baseline ? [1, hiddenSize] : undefined;
  const biasShape = baseline ? [1] : undefined;
  return {
    ...gate,
    shapes: { ...gate.shapes, ...(shape && { baseline: shape, baselineBias: [1] }) },
    init(key: RandomKey, options: InitOptions): ReinforceParams {
      return {
        ...gate.init(key, options),
        ...(shape && {
          baseline: constantParameter(0, shape, options),
          baselineBias: constantParameter(0, [1], options),
        }),
      };
    },
    forward(params: ReinforceParams, x: Tensor, context: RouteContext) {
      const head = routerParameter(params, "baseline", shape);
      const bias = routerParameter(params, "baselineBias", biasShape);
      const { logits } = gate.forward(params, x, context);
      if (!head || !bias) return { logits };
      const foretold = add(matmul(stopGradient(x), head, { transposeB: true }), bias);
      return { logits, carry: { reinforceBaseline: foretold } };
    },
  };
}
