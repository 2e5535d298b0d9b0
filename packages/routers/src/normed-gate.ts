import {
  type RouteSpec,
  type Tensor,
  constantParameter,
  matmul,
  mul,
  normalParameter,
  rmsNorm,
} from "@moiety/core";
import { type ExpertScaleParams, scaledRouter } from "./expert-scale.ts";
import { type Gate, routerParameter } from "./gate.ts";
import { requirePositive } from "./option.ts";
import { type StagedRouter, stagedRouter } from "./staged-router.ts";

/** Parameters of a normed gate. */
export interface NormedGateParams {
  /** `[E, H]`. */
  readonly weight: Tensor;
  /** `[H]` factors of the normed input. */
  readonly scale: Tensor;
}

/** Options of {@link normedGate}. */
export interface NormedGateOptions {
  /** E. */
  readonly experts: number;
  /** H. */
  readonly inputSize: number;
  /** ε of the norm; 1e-6 unless given. */
  readonly rmsNormEps?: number | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * `logits = (rmsNorm(x) ⊙ scale · H^-½) · Wᵀ`: the router norms its input itself. The scale starts
 * from 1.
 *
 * Source: transformers `modeling_gemma4.py`, `Gemma4TextRouter`.
 * @throws ConfigError
 */
export function normedGate(options: NormedGateOptions): Gate<NormedGateParams> {
  const { experts, inputSize, rmsNormEps = 1e-6, initializerRange = 0.02 } = options;
  for (const [name, value] of Object.entries({ rmsNormEps, initializerRange })) {
    requirePositive(name, value);
  }
  const shapes = { weight: [experts, inputSize], scale: [inputSize] };
  return {
    experts,
    inputSize,
    shapes,
    init: (key, init) => ({
      weight: normalParameter(key, shapes.weight, initializerRange, init),
      scale: constantParameter(1, shapes.scale, init),
    }),
    forward(params, x) {
      const weight = routerParameter(params, "weight", shapes.weight) as Tensor;
      const scale = routerParameter(params, "scale", shapes.scale) as Tensor;
      const normed = rmsNorm(x, mul(scale, inputSize ** -0.5), { epsilon: rmsNormEps });
      return { logits: matmul(normed, weight, { transposeB: true }) };
    },
  };
}

/** Options of {@link gemma4Router}, by the names of Hugging Face's configuration. */
export interface Gemma4Options {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** k. */
  readonly topKExperts: number;
  /** ε of the norm; 1e-6 unless given. */
  readonly rmsNormEps?: number | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** Gemma 4's stages: a softmax, the k best, divided by their sum. */
export function gemma4Spec({
  numExperts,
  topKExperts,
}: Pick<Gemma4Options, "numExperts" | "topKExperts">): RouteSpec {
  return { experts: numExperts, topK: topKExperts, score: "softmax", renormalize: {} };
}

/**
 * Gemma 4's router: a {@link normedGate}, p = softmax, weights p_e / Σ p over the k best, times a
 * learned factor of each expert. No token sees another.
 *
 * Source: transformers `modeling_gemma4.py`, `Gemma4TextRouter`.
 * @throws ConfigError
 */
export function gemma4Router(
  options: Gemma4Options,
): StagedRouter<NormedGateParams & ExpertScaleParams> {
  const { hiddenSize, numExperts, rmsNormEps, initializerRange } = options;
  return scaledRouter(
    stagedRouter({
      gate: normedGate({
        experts: numExperts,
        inputSize: hiddenSize,
        rmsNormEps,
        initializerRange,
      }),
      spec: gemma4Spec(options),
    }),
  );
}
