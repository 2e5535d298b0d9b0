import {
  type RouteSpec,
  type Tensor,
  div,
  full,
  mean,
  mul,
  rsqrt,
  square,
  sub,
  sum,
} from "@moiety/core";
import { changeRouting } from "./change-routing.ts";
import type { Gate } from "./gate.ts";
import {
  type HeterogeneousCapacity,
  applyHeterogeneousCapacity,
  checkHeterogeneousCapacity,
} from "./heterogeneous-capacity.ts";
import { type LinearGateParams, linearGate } from "./linear-gate.ts";
import { type MlpGateParams, mlpGate } from "./mlp-gate.ts";
import { refuseOption, requirePositive } from "./option.ts";
import { type PreviousGateParams, previousGate } from "./previous-gate.ts";
import { type StagedRouter, stagedRouter } from "./staged-router.ts";
import { zeroAwareWeights } from "./zero-aware.ts";

/** Options of {@link moePlusPlusRouter}, by the names of the published configuration. */
export interface MoePlusPlusOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E with the special experts: FFNs, then constant experts, one copy, one zero expert. */
  readonly numExperts: number;
  /** k; 2 unless given. */
  readonly numExpertsPerTok?: number | undefined;
  /** Constant experts; 2 unless given. */
  readonly constantExperts?: number | undefined;
  /** Whether this is the first layer, which has no earlier logits. False unless given. */
  readonly first?: boolean | undefined;
  /** Whether the gate is a network with a tanh inside; true unless given. */
  readonly moe2layerGate?: boolean | undefined;
  /** Whether the weights are a softmax over the chosen instead; false unless given. */
  readonly moeUseMixtralGating?: boolean | undefined;
  /** Whether each token's logits are brought to one deviation; false unless given. */
  readonly moeUseLogitsNorm?: boolean | undefined;
  /** That deviation; 1 unless given. */
  readonly moeGateNormStd?: number | undefined;
  /**
   * Whether experts get their input as it is; otherwise, and unless given, it is multiplied by k
   * (never with `moeUseMixtralGating`).
   */
  readonly moeFeatureNoMulTopk?: boolean | undefined;
  /** γ and τ of the capacity in training; dropless unless given. */
  readonly capacity?: Pick<HeterogeneousCapacity, "factor" | "ratio"> | undefined;
  /** Standard deviation of the initial weights; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** Parameters of MoE++'s gate. */
export type MoePlusPlusParams = (LinearGateParams | MlpGateParams) & PreviousGateParams;

/** MoE++'s stages; the zero expert's weight is taken out before they renormalise. */
export function moePlusPlusSpec({
  numExperts,
  numExpertsPerTok = 2,
  moeUseMixtralGating = false,
}: Pick<MoePlusPlusOptions, "numExperts" | "numExpertsPerTok" | "moeUseMixtralGating">): RouteSpec {
  const common = { experts: numExperts, topK: numExpertsPerTok, score: "softmax" } as const;
  return moeUseMixtralGating
    ? { ...common, selectBy: "logits", weight: "softmaxOfChosen" }
    : { ...common, renormalize: {} };
}

/**
 * MoE++'s router: logits of a two-layer gate plus a map of the earlier layer's logits; p = softmax,
 * the k best, the zero expert's weight 0 and the rest divided by their sum. The experts behind the
 * FFNs are, in turn, constant, copy and zero experts. The capacity, which acts in training only,
 * makes tokens look at those before them; without it no token sees another.
 *
 * Paper: Jin et al., "MoE++" (2024). Source: MoE++ `moe_plus_plus_layer.py`.
 * @throws ConfigError
 */
export function moePlusPlusRouter(options: MoePlusPlusOptions): StagedRouter<MoePlusPlusParams> {
  const { numExperts, numExpertsPerTok = 2, constantExperts = 2 } = options;
  const { moeUseMixtralGating = false, moeFeatureNoMulTopk = false, capacity } = options;
  const networks = numExperts - constantExperts - 2;
  if (!Number.isSafeInteger(constantExperts) || constantExperts < 0 || networks < 0) {
    throw refuseOption("constantExperts", constantExperts, `from 0 to ${numExperts - 2}`);
  }
  const places = capacity && { ...capacity, firstZeroComputation: networks };
  if (places) checkHeterogeneousCapacity(places, numExperts);
  const weight = moeUseMixtralGating
    ? undefined
    : zeroAwareWeights({ first: numExperts - 1, count: 1 }, numExperts);
  const router = stagedRouter<MoePlusPlusParams>({
    gate: gateOf(options),
    spec: moePlusPlusSpec(options),
    stages: ({ training, context }) => ({
      weight,
      capacity:
        places && training
          ? (assigned): Tensor => applyHeterogeneousCapacity(places, assigned, context)
          : undefined,
    }),
    acrossTokens: places !== undefined,
  });
  if (moeUseMixtralGating || moeFeatureNoMulTopk) return router;
  return changeRouting(router, (routing) => {
    const { backend, shape, dtype } = routing.outputWeights;
    return { ...routing, inputWeights: full(backend, shape, numExpertsPerTok, dtype) };
  });
}

function gateOf(options: MoePlusPlusOptions): Gate<MoePlusPlusParams> {
  const { hiddenSize, numExperts, first, initializerRange, moe2layerGate = true } = options;
  const { moeUseLogitsNorm = false, moeGateNormStd = 1 } = options;
  const common = { experts: numExperts, inputSize: hiddenSize, initializerRange };
  const inner = (moe2layerGate ? mlpGate(common) : linearGate(common)) as Gate<
    LinearGateParams | MlpGateParams
  >;
  const gate = previousGate({ gate: inner, first, initializerRange });
  if (!moeUseLogitsNorm) return gate;
  requirePositive("moeGateNormStd", moeGateNormStd);
  return {
    ...gate,
    forward(params, x, context) {
      const { logits, carry } = gate.forward(params, x, context);
      return { logits: mul(logits, mul(inverseDeviation(logits), moeGateNormStd)), carry };
    },
  };
}

/** `[T, 1]`: one over the sample deviation of each row. */
function inverseDeviation(x: Tensor): Tensor {
  const squares = square(sub(x, mean(x, [-1], true)));
  return rsqrt(div(sum(squares, [-1], true), (x.shape[1] ?? 0) - 1));
}
