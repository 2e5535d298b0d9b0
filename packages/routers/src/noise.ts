import {
  type FloatDType,
  type RandomKey,
  type RouteContext,
  type Tensor,
  type TokenChoice,
  add,
  full,
  matmul,
  mul,
  normal,
  softplus,
  uniform,
} from "@moiety/core";
import { gumbel, injectedDraws } from "./draws.ts";
import { floatOf } from "./dtype.ts";
import { type DrawKeys, requireKey } from "./keys.ts";
import { refuseOption, requireNotNegative, requirePositive } from "./option.ts";

/** What needs a key where the call brings no noise. */
const UNGIVEN = "noise, without context.noise,";

/** What noise is made of in one call. */
export interface NoiseCall {
  /** `[T, H]` the router's input. */
  readonly x: Tensor;
  /** `[E, H]`, of learned noise. */
  readonly weight: Tensor | undefined;
  readonly context: RouteContext;
  readonly keys: DrawKeys | undefined;
}

/** Logits with noise. */
export interface NoisyLogits {
  readonly noisy: Tensor;
  /** For Shazeer's load loss, which is about normal noise. */
  readonly noise?: TokenChoice["noise"];
}

/**
 * Noise that is added to the logits in training. It is a value that brings its code along, so that
 * routers without noise do not carry it.
 */
export interface RouterNoise {
  /** Whether its scale is learned: then the router has a parameter `noise [E, H]`. */
  readonly learned: boolean;
  /** `clean [T, E]` → noisy. The standard noise is `context.noise` where given, else drawn. */
  add(clean: Tensor, call: NoiseCall): NoisyLogits;
}

/** Normal noise with one standard deviation for all. @throws ConfigError */
export function gaussianNoise(deviation: number): RouterNoise {
  requirePositive("noise.deviation", deviation);
  return {
    learned: false,
    add(clean, call) {
      const dtype = floatOf(clean);
      return normalNoise(clean, full(clean.backend, clean.shape, deviation, dtype), call);
    },
  };
}

/**
 * Gaussian noise whose deviation is `noise / experts`, so that it fades as experts grow more.
 * V-MoE trains with `noise` 1 (vmoe `routing.py`, `NoisyTopExpertsPerItemRouter`: `noise_std`), Tutel
 * calls it `gate_noise` (`moe_layer.py`).
 * @throws ConfigError
 */
export function perExpertNoise(noise: number, experts: number): RouterNoise {
  return gaussianNoise(noise / experts);
}

/**
 * Standard Gumbel noise times a factor: with factor 1 the best noisy logits are a sample from the
 * softmax, without replacement (the Gumbel-top-k trick). @throws ConfigError
 */
export function gumbelNoise(scale = 1): RouterNoise {
  requirePositive("noise.scale", scale);
  return {
    learned: false,
    add(clean, { context, keys }) {
      const { shape } = clean;
      const standard =
        injectedDraws(context.noise, shape, clean) ??
        gumbel(requireKey(keys, UNGIVEN).noise, shape, clean);
      return { noisy: add(clean, mul(standard, scale)) };
    },
  };
}

/**
 * Normal noise with standard deviation softplus(x · Wᵀ) + `minimum`, one for each token and expert
 * (Shazeer et al. 2017). @throws ConfigError
 */
export function learnedNoise(minimum = 1e-2): RouterNoise {
  requireNotNegative("noise.minimum", minimum);
  return {
    learned: true,
    add(clean, call) {
      const scale = softplus(matmul(call.x, call.weight as Tensor, { transposeB: true }));
      return normalNoise(clean, add(scale, minimum), call);
    },
  };
}

function normalNoise(clean: Tensor, scale: Tensor, { context, keys }: NoiseCall): NoisyLogits {
  const { backend, shape } = clean;
  const dtype = floatOf(clean);
  const standard =
    injectedDraws(context.noise, shape, clean) ??
    normal(backend, { key: requireKey(keys, UNGIVEN).noise, shape, dtype });
  return { noisy: add(clean, mul(standard, scale)), noise: { clean, scale } };
}

/** `x [T, H]`, float32 or float64, times numbers drawn evenly from [1 − ε, 1 + ε). */
export function jitterInput(x: Tensor, amount: number, key: RandomKey): Tensor {
  const draws = uniform(x.backend, { key, shape: x.shape, dtype: x.dtype as FloatDType });
  return mul(x, add(mul(draws, 2 * amount), 1 - amount));
}

/** Adds fixed noise to the logits of a router that has no weight for learned noise. */
export function addFixedNoise(
  clean: Tensor,
  noise: RouterNoise,
  context: RouteContext,
  keys: DrawKeys | undefined,
): NoisyLogits {
  return noise.add(clean, { x: clean, weight: undefined, context, keys });
}

/** Refuses learned noise, for routers without a weight for it. @throws ConfigError */
export function requireFixedNoise(noise: RouterNoise | undefined): void {
  if (!noise?.learned) return;
  throw refuseOption("noise", "learned", "fixed: gaussianNoise or gumbelNoise");
}
