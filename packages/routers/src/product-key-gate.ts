import {
  type RouteSpec,
  type Shape,
  type Tensor,
  add,
  matmul,
  normalParameter,
  slice,
} from "@moiety/core";
import { type Gate, routerParameter } from "./gate.ts";
import { refuseOption, requirePositive } from "./option.ts";
import { type StagedRouter, stagedRouter } from "./staged-router.ts";

/** Parameters of a product-key gate. */
export interface ProductKeyGateParams {
  /** `[2·K, H]`: K keys of the first half, then K of the second. */
  readonly weight: Tensor;
}

/** Options of {@link productKeyGate}. */
export interface ProductKeyGateOptions {
  /** E, a square number: K² with K keys in each half. */
  readonly experts: number;
  /** H. */
  readonly inputSize: number;
  /**
   * Whose the two halves are. `token` (the default): each token's own. `view`: those that a view of
   * `[T, 2·K]` as `[2, T, K]` gives, as the published Doge code has it: token t takes halves of the
   * tokens ⌊t/2⌋ and ⌊(T+t)/2⌋, and so looks at others.
   */
  readonly halves?: "token" | "view" | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * `logits[t, i·K + j] = a[t, i] + b[t, j]` with `[a, b] = x · Wᵀ`: E = K² experts from 2·K keys. The
 * best k of all sums are what the source finds among the sums of the best of each half.
 *
 * Papers: Lample et al., "Large Memory Layers with Product Keys" (2019); He, "Mixture of A Million
 * Experts" (2024).
 * @throws ConfigError
 */
export function productKeyGate(options: ProductKeyGateOptions): Gate<ProductKeyGateParams> {
  const { experts, inputSize, halves = "token", initializerRange = 0.02 } = options;
  const keys = Math.round(Math.sqrt(experts));
  if (!Number.isSafeInteger(experts) || experts < 1 || keys * keys !== experts) {
    throw refuseOption("experts", experts, "a square number: product keys make K² of 2·K keys");
  }
  if (!["token", "view"].includes(halves)) throw refuseOption("halves", halves, "token or view");
  requirePositive("initializerRange", initializerRange);
  const shape = [2 * keys, inputSize];
  return {
    experts,
    inputSize,
    shapes: { weight: shape },
    init: (key, init) => ({ weight: normalParameter(key, shape, initializerRange, init) }),
    forward(params, x) {
      const weight = routerParameter(params, "weight", shape) as Tensor;
      const [first, second] = productKeyHalves(matmul(x, weight, { transposeB: true }), halves);
      const tokens = x.shape[0] ?? 0;
      const sums = add(first.reshape([tokens, keys, 1]), second.reshape([tokens, 1, keys]));
      return { logits: sums.reshape([tokens, experts]) };
    },
  };
}

/** The two halves `[T, K]` of `x · Wᵀ` `[T, 2·K]`: see {@link ProductKeyGateOptions}. */
export function productKeyHalves(
  product: Tensor,
  halves: "token" | "view",
): [first: Tensor, second: Tensor] {
  const [tokens = 0, width = 0] = product.shape;
  const keys = width / 2;
  const whole = halves === "token" ? product : product.reshape([2 * tokens, keys]);
  const part = (starts: Shape): Tensor => slice(whole, { starts, sizes: [tokens, keys] });
  return [part([0, 0]), part(halves === "token" ? [0, keys] : [tokens, 0])];
}

/** Options of {@link dogeRouter}, by the names of Hugging Face's configuration. */
export interface DogeOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E, a square number; 16384 in the published models. */
  readonly numExperts: number;
  /** k. */
  readonly numExpertsPerTok: number;
  /** Whether the weights are divided by their sum, which is 1 already; false unless given. */
  readonly normTopkProb?: boolean | undefined;
  /** Whose the halves are; `view` unless given, as the published code has it. */
  readonly halves?: "token" | "view" | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** Doge's stages: the k best sums, and a softmax over those alone. */
export function dogeSpec({
  numExperts,
  numExpertsPerTok,
  normTopkProb = false,
}: Pick<DogeOptions, "numExperts" | "numExpertsPerTok" | "normTopkProb">): RouteSpec {
  return {
    experts: numExperts,
    topK: numExpertsPerTok,
    score: "softmax",
    selectBy: "logits",
    weight: "softmaxOfChosen",
    renormalize: normTopkProb ? {} : undefined,
  };
}

/**
 * Doge's router: a {@link productKeyGate}, the k best sums, a softmax over them. With its default
 * `halves: "view"` tokens look at each other, and at later ones: that is what the published weights
 * were trained with. With `token` no token sees another.
 *
 * Source: transformers `modeling_doge.py`, `DogeCDMoE`.
 * @throws ConfigError
 */
export function dogeRouter(options: DogeOptions): StagedRouter<ProductKeyGateParams> {
  const { hiddenSize, numExperts, halves = "view", initializerRange } = options;
  return stagedRouter({
    gate: productKeyGate({ experts: numExperts, inputSize: hiddenSize, halves, initializerRange }),
    spec: dogeSpec(options),
    acrossTokens: halves === "view",
  });
}
