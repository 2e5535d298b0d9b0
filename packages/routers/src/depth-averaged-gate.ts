import {
  type RouteSpec,
  type Tensor,
  add,
  constantParameter,
  equal,
  gelu,
  matmul,
  mul,
  normalParameter,
  rmsNorm,
  select,
  splitKey,
  weighChoices,
} from "@moiety/core";
import { type Gate, routerParameter } from "./gate.ts";
import { requirePositive, requireWhole } from "./option.ts";
import { previousTensor } from "./previous-gate.ts";
import { type StagedRouter, stagedRouter } from "./staged-router.ts";

/** Parameters of a depth-averaged gate; R is the width of the router's state. */
export interface DepthAveragedGateParams {
  /** `[R, H]` and `[R]`: the projection of the input. */
  readonly downWeight: Tensor;
  readonly downBias: Tensor;
  /** `[R]` factors of the earlier layer's state; absent in the first layer. */
  readonly stateScale?: Tensor | undefined;
  /** `[R]` of the norm. */
  readonly norm: Tensor;
  /** `[R, R]` and `[R]`. */
  readonly firstWeight: Tensor;
  readonly firstBias: Tensor;
  /** `[R, R]` and `[R]`. */
  readonly secondWeight: Tensor;
  readonly secondBias: Tensor;
  /** `[E, R]`. */
  readonly outWeight: Tensor;
}

/** Options of {@link depthAveragedGate}. */
export interface DepthAveragedGateOptions {
  /** E. */
  readonly experts: number;
  /** H. */
  readonly inputSize: number;
  /** R; 256 unless given. */
  readonly routerHiddenSize?: number | undefined;
  /** ε of the norm; 1e-5 unless given. */
  readonly rmsNormEps?: number | undefined;
  /** Whether this is the first such layer, which has no state to look back at. False unless given. */
  readonly first?: boolean | undefined;
  /** Standard deviation of the initial weights; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * `s = x · W_dᵀ + b_d + γ ⊙ s'`, `logits = W_o · gelu(W_2 · gelu(W_1 · rmsNorm(s) + b_1) + b_2)`,
 * with `s'` the state s of the layer before, which it finds in `context.previous.routerState`: an
 * exponential average over depth. It carries s on under that name. γ and the norm start from 1.
 *
 * Source: transformers `modeling_zaya.py`, `ZayaRouter`.
 * @throws ConfigError
 */
export function depthAveragedGate(
  options: DepthAveragedGateOptions,
): Gate<DepthAveragedGateParams> {
  const { experts, inputSize, routerHiddenSize: width = 256, first = false } = options;
  const { rmsNormEps = 1e-5, initializerRange = 0.02 } = options;
  requireWhole("routerHiddenSize", width);
  for (const [name, value] of Object.entries({ rmsNormEps, initializerRange })) {
    requirePositive(name, value);
  }
  const shapes = {
    downWeight: [width, inputSize],
    downBias: [width],
    ...(!first && { stateScale: [width] }),
    norm: [width],
    firstWeight: [width, width],
    firstBias: [width],
    secondWeight: [width, width],
    secondBias: [width],
    outWeight: [experts, width],
  };
  return {
    experts,
    inputSize,
    shapes,
    init(key, init) {
      const keys = splitKey(key, 4);
      const drawn = (index: number, shape: readonly number[]): Tensor =>
        normalParameter(keys[index] ?? key, shape, initializerRange, init);
      const constant = (value: number): Tensor => constantParameter(value, [width], init);
      return {
        downWeight: drawn(0, shapes.downWeight),
        downBias: constant(0),
        ...(!first && { stateScale: constant(1) }),
        norm: constant(1),
        firstWeight: drawn(1, shapes.firstWeight),
        firstBias: constant(0),
        secondWeight: drawn(2, shapes.secondWeight),
        secondBias: constant(0),
        outWeight: drawn(3, shapes.outWeight),
      };
    },
    forward(params, x, context) {
      const leaf = (name: keyof DepthAveragedGateParams): Tensor =>
        routerParameter(params, name, shapes[name]) as Tensor;
      const linear = (value: Tensor, weight: Tensor, bias: Tensor): Tensor =>
        add(matmul(value, weight, { transposeB: true }), bias);
      const own = linear(x, leaf("downWeight"), leaf("downBias"));
      const scale = routerParameter(params, "stateScale", shapes.stateScale);
      const state = scale
        ? add(own, mul(previousTensor(context, "routerState", own.shape), scale))
        : own;
      const normed = rmsNorm(state, leaf("norm"), { epsilon: rmsNormEps });
      const hidden = gelu(linear(normed, leaf("firstWeight"), leaf("firstBias")));
      const deep = gelu(linear(hidden, leaf("secondWeight"), leaf("secondBias")));
      return {
        logits: matmul(deep, leaf("outWeight"), { transposeB: true }),
        carry: { routerState: state },
      };
    },
  };
}

/** Options of {@link zayaRouter}, by the names of Hugging Face's configuration. */
export interface ZayaOptions {
  /** H. */
  readonly hiddenSize: number;
  /** Experts beside the skip class. */
  readonly numExperts: number;
  /** k; 1 unless given. */
  readonly numExpertsPerTok?: number | undefined;
  /** R; 256 unless given. */
  readonly routerHiddenSize?: number | undefined;
  /** ε of the norm; 1e-5 unless given. */
  readonly rmsNormEps?: number | undefined;
  /** Whether this is the first layer. False unless given. */
  readonly first?: boolean | undefined;
  /** Standard deviation of the initial weights; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** Zaya's stages over the experts and the skip class, which is the last: no renormalisation. */
export function zayaSpec({
  numExperts,
  numExpertsPerTok = 1,
}: Pick<ZayaOptions, "numExperts" | "numExpertsPerTok">): RouteSpec {
  return { experts: numExperts + 1, topK: numExpertsPerTok, score: "softmax", bias: true };
}

/**
 * Zaya's router: a {@link depthAveragedGate}, p = softmax over the experts and a *skip* class, the
 * choice by p + b, weights p. The skip class is expert number `numExperts`, and its weight 0: a bank
 * gives it an expert whose output is zero, so that the token passes the layer by. The bias b is state and starts
 * from 0, that of the skip class from −1. No token sees another.
 *
 * Source: transformers `modeling_zaya.py`, `ZayaRouter`.
 * @throws ConfigError
 */
export function zayaRouter(options: ZayaOptions): StagedRouter<DepthAveragedGateParams> {
  const { hiddenSize, ...gate } = options;
  const spec = zayaSpec(options);
  const router = stagedRouter({
    gate: depthAveragedGate({ ...gate, experts: spec.experts, inputSize: hiddenSize }),
    spec,
    stages: {
      weight: (choice, attributes) =>
        select(equal(choice.indices, options.numExperts), 0, weighChoices(choice, attributes)),
    },
  });
  return {
    ...router,
    init(key, init) {
      const { params, state } = router.init(key, init);
      const data = new Float64Array(spec.experts);
      data[spec.experts - 1] = -1;
      const dtype = init.dtype ?? "f32";
      state.selectionBias?.dispose();
      const selectionBias = init.backend.tensor(data, { shape: [spec.experts], dtype });
      return { params, state: { ...state, selectionBias } };
    },
  };
}
