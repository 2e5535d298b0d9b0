import {
  ConfigError,
  type RandomKey,
  type RouteContext,
  ShapeError,
  type Tensor,
  type TokenChoice,
  add,
  cast,
  formatShape,
  full,
  matmul,
  mul,
  normal,
  sameShape,
  softplus,
  stopGradient,
  uniform,
} from "@moiety/core";

/** Noise that is added to the logits in training. */
export type RouterNoise =
  | {
      /** One standard deviation for all. */
      readonly kind: "gaussian";
      /** The standard deviation. */
      readonly deviation: number;
    }
  | {
      /** Standard deviation softplus(x · Wᵀ) + `minimum`, one for each token and expert. */
      readonly kind: "learned";
      /** 1e-2 unless given. */
      readonly minimum?: number | undefined;
    };

/** Keys of the draws that one routing makes. */
export interface DrawKeys {
  readonly jitter: RandomKey;
  readonly noise: RandomKey;
  readonly capacity: RandomKey;
  /** For own stages. */
  readonly stages: RandomKey;
}

/** Refuses noise that makes no sense, naming the key. @throws ConfigError */
export function checkNoise(noise: RouterNoise): void {
  const refuse = (key: string, value: unknown, wanted: string): never => {
    throw new ConfigError(`router: ${key} is ${String(value)}, but must be ${wanted}`, key, value);
  };
  switch (noise.kind) {
    case "gaussian":
      if (!(noise.deviation > 0 && Number.isFinite(noise.deviation))) {
        refuse("noise.deviation", noise.deviation, "a finite number above 0");
      }
      break;
    case "learned":
      if (!((noise.minimum ?? 0) >= 0 && Number.isFinite(noise.minimum ?? 0))) {
        refuse("noise.minimum", noise.minimum, "a finite number from 0");
      }
      break;
    default:
      refuse("noise.kind", (noise as { kind?: unknown }).kind, "gaussian or learned");
  }
}

/** `x [T, H]` times numbers drawn evenly from [1 − ε, 1 + ε). */
export function jitterInput(x: Tensor, amount: number, key: RandomKey): Tensor {
  const dtype = x.dtype === "f64" ? "f64" : "f32";
  const draws = uniform(x.backend, { key, shape: x.shape, dtype });
  return mul(x, add(mul(draws, 2 * amount), 1 - amount));
}

/**
 * Adds noise to `clean [T, E]`. The standard noise is `context.noise` where given, else drawn.
 * `weight [E, H]` belongs to learned noise.
 */
export function addNoise(
  clean: Tensor,
  noise: RouterNoise,
  x: Tensor,
  weight: Tensor | undefined,
  context: RouteContext,
  keys: DrawKeys | undefined,
): { readonly noisy: Tensor; readonly noise: NonNullable<TokenChoice["noise"]> } {
  const { backend, shape } = clean;
  const dtype = clean.dtype === "f64" ? "f64" : "f32";
  const scale =
    noise.kind === "learned" && weight
      ? add(softplus(matmul(x, weight, { transposeB: true })), noise.minimum ?? 1e-2)
      : full(backend, shape, noise.kind === "gaussian" ? noise.deviation : 0, dtype);
  const standard = context.noise
    ? injected(context.noise, clean)
    : normal(backend, { key: requireKeys(keys, "noise").noise, shape, dtype });
  return { noisy: add(clean, mul(standard, scale)), noise: { clean, scale } };
}

/** The keys, or the error of a training step without one. */
export function requireKeys(keys: DrawKeys | undefined, what: "jitter" | "noise"): DrawKeys {
  if (keys) return keys;
  const otherwise = what === "noise" ? ", or context.noise" : "";
  throw new ConfigError(
    `the router's ${what} needs context.key${otherwise} in training; ` +
      "derive one for each step with foldIn(key, step)",
    "context.key",
    undefined,
  );
}

function injected(noise: Tensor, logits: Tensor): Tensor {
  if (!sameShape(noise.shape, logits.shape)) {
    throw new ShapeError(
      `context.noise is ${formatShape(noise.shape)}, but must be ${formatShape(logits.shape)}`,
      { shapes: [noise.shape] },
    );
  }
  const still = stopGradient(noise);
  return still.dtype === logits.dtype ? still : cast(still, { dtype: logits.dtype });
}
