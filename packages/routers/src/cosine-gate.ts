import {
  type RandomKey,
  type RouteSpec,
  type Tensor,
  add,
  constantParameter,
  exp,
  matmul,
  maximum,
  minimum,
  mul,
  normalParameter,
  rsqrt,
  splitKey,
  square,
  sum,
} from "@moiety/core";
import { type Gate, routerParameter } from "./gate.ts";
import { requirePositive, requireWhole } from "./option.ts";
import { type StagedRouter, stagedRouter } from "./staged-router.ts";

/** Parameters of a cosine gate. */
export interface CosineGateParams {
  /** `[P, H]` the projection. */
  readonly weight: Tensor;
  /** `[P]` its bias. */
  readonly bias: Tensor;
  /** `[P, E]` a direction for each expert. */
  readonly similarity: Tensor;
  /** `[1]` log of the factor of the cosines. */
  readonly temperature: Tensor;
}

/** Options of {@link cosineGate}. */
export interface CosineGateOptions {
  /** E. */
  readonly experts: number;
  /** H. */
  readonly inputSize: number;
  /** P; 256 unless given. */
  readonly projectionSize?: number | undefined;
  /** What the cosines are divided by at first; 0.5 unless given. */
  readonly initialTemperature?: number | undefined;
  /** The least that they are ever divided by; 0.01 unless given. */
  readonly minimumTemperature?: number | undefined;
  /** Standard deviation of the initial directions; 0.01 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * `logits = cos(x · Wᵀ + b, s_e) · exp(min(t, log(1/minimumTemperature)))`: the cosine between a
 * projection of the token and a direction of each expert, times a learned factor with a ceiling.
 *
 * Paper: Chi et al., "On the Representation Collapse of Sparse Mixture of Experts" (2022). Source:
 * Tutel `gates/cosine_top.py`.
 * @throws ConfigError
 */
export function cosineGate(options: CosineGateOptions): Gate<CosineGateParams> {
  const { experts, inputSize, projectionSize = 256, initialTemperature = 0.5 } = options;
  const { minimumTemperature = 0.01, initializerRange = 0.01 } = options;
  requireWhole("projectionSize", projectionSize);
  const positive = { initialTemperature, minimumTemperature, initializerRange };
  for (const [name, value] of Object.entries(positive)) {
    requirePositive(name, value);
  }
  const shapes = {
    weight: [projectionSize, inputSize],
    bias: [projectionSize],
    similarity: [projectionSize, experts],
    temperature: [1],
  };
  return {
    experts,
    inputSize,
    shapes,
    init(key: RandomKey, init) {
      const [first = key, second = key] = splitKey(key, 2);
      return {
        weight: normalParameter(first, shapes.weight, 1 / Math.sqrt(inputSize), init),
        bias: constantParameter(0, shapes.bias, init),
        similarity: normalParameter(second, shapes.similarity, initializerRange, init),
        temperature: constantParameter(-Math.log(initialTemperature), shapes.temperature, init),
      };
    },
    forward(params, x) {
      const leaf = (name: keyof CosineGateParams): Tensor =>
        routerParameter(params, name, shapes[name]) as Tensor;
      const projected = add(matmul(x, leaf("weight"), { transposeB: true }), leaf("bias"));
      const cosines = matmul(unit(projected, 1), unit(leaf("similarity"), 0));
      const factor = exp(minimum(leaf("temperature"), -Math.log(minimumTemperature)));
      return { logits: mul(cosines, factor) };
    },
  };
}

/** Options of {@link cosineRouter}. */
export interface CosineRouterOptions extends Omit<CosineGateOptions, "experts" | "inputSize"> {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** k. */
  readonly numExpertsPerTok: number;
}

/** Tutel's stages: a softmax, the k best, divided by their sum where there are several. */
export function cosineSpec({
  numExperts,
  numExpertsPerTok,
}: Pick<CosineRouterOptions, "numExperts" | "numExpertsPerTok">): RouteSpec {
  return {
    experts: numExperts,
    topK: numExpertsPerTok,
    score: "softmax",
    renormalize: { epsilon: "machine", guard: "max", skipSingle: true },
  };
}

/** Tutel's router behind a {@link cosineGate}. No token sees another. @throws ConfigError */
export function cosineRouter(options: CosineRouterOptions): StagedRouter<CosineGateParams> {
  const { hiddenSize, numExperts, ...gate } = options;
  return stagedRouter({
    gate: cosineGate({ ...gate, experts: numExperts, inputSize: hiddenSize }),
    spec: cosineSpec(options),
  });
}

/** Vectors along an axis divided by their length, or by 1e-12 where that is larger. */
function unit(x: Tensor, axis: number): Tensor {
  return mul(x, rsqrt(maximum(sum(square(x), [axis], true), 1e-24)));
}
