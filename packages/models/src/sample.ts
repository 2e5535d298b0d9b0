import { ConfigError, NumericError } from "@moiety/core";

/** How the next token is chosen. */
export interface SampleOptions {
  /** Logits are divided by it; 0 takes the likeliest token. 0 unless given. */
  readonly temperature?: number | undefined;
  /** Only the k likeliest tokens may be chosen. All unless given. */
  readonly topK?: number | undefined;
}

/** Throws {@link ConfigError} for options that make no sense. */
export function checkSampling({ temperature = 0, topK = 1 }: SampleOptions): void {
  if (!(temperature >= 0 && Number.isFinite(temperature))) {
    throw new ConfigError(
      `temperature is ${temperature}, but must be a finite number from 0`,
      "temperature",
      temperature,
    );
  }
  if (!(Number.isInteger(topK) && topK >= 1)) {
    throw new ConfigError(`topK is ${topK}, but must be a whole number from 1`, "topK", topK);
  }
}

/**
 * Draws a place by `softmax(logits / temperature)`; `uniform` is a number in [0, 1).
 * @throws NumericError where the logits are not finite
 */
export function sampleIndex(
  logits: ArrayLike<number>,
  temperature: number,
  uniform: number,
): number {
  const values = Array.from(logits, (logit) => logit / temperature);
  const top = Math.max(...values);
  if (!Number.isFinite(top)) {
    throw new NumericError("the logits of the next token are not finite; the model has diverged");
  }
  const weights = values.map((value) => Math.exp(value - top));
  let rest = uniform * weights.reduce((total, weight) => total + weight, 0);
  for (const [index, weight] of weights.entries()) {
    rest -= weight;
    if (rest < 0) return index;
  }
  // Rounding may leave a rest; the last place that has any weight takes it.
  return weights.findLastIndex((weight) => weight > 0);
}
