import { ConfigError, NumericError } from "@moiety/core";

/** How the next token is chosen. In this order: temperature, `topK`, `topP`, as transformers does. */
export interface SampleOptions {
  /** Logits are divided by it; 0 takes the likeliest token. 0 unless given. */
  readonly temperature?: number | undefined;
  /** Only the k likeliest tokens may be chosen. All unless given. */
  readonly topK?: number | undefined;
  /**
   * Only the smallest set of likeliest tokens whose probabilities sum to at least this may be chosen,
   * one at least: from 0 to 1. Probabilities are those after temperature and `topK`. 1, which is all,
   * unless given. (Holtzman et al., "The curious case of neural text degeneration", ICLR 2020)
   */
  readonly topP?: number | undefined;
}

/** Throws {@link ConfigError} for options that make no sense. */
export function checkSampling({ temperature = 0, topK = 1, topP = 1 }: SampleOptions): void {
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
  if (!(topP >= 0 && topP <= 1)) {
    throw new ConfigError(`topP is ${topP}, but must be a number from 0 to 1`, "topP", topP);
  }
}

/**
 * Draws a place by `softmax(logits / temperature)`, of the likeliest whose probabilities sum to
 * `topP`; `uniform` is a number in [0, 1). Of equal logits the lower place is taken first.
 * @throws NumericError where the logits are not finite; −∞ is allowed and never drawn
 */
export function sampleIndex(
  logits: ArrayLike<number>,
  temperature: number,
  uniform: number,
  topP = 1,
): number {
  const all = weightsOf(logits, temperature);
  const weights = topP < 1 ? nucleus(all, topP) : all;
  let rest = uniform * sumOf(weights);
  let last = 0;
  for (let index = 0; index < weights.length; index++) {
    const weight = weights[index] as number;
    if (weight === 0) continue;
    last = index;
    rest -= weight;
    if (rest < 0) return index;
  }
  // Rounding may leave a rest; the last place that has any weight takes it.
  return last;
}

/** Probabilities without their common divisor: the largest is 1. */
function weightsOf(logits: ArrayLike<number>, temperature: number): Float64Array {
  let top = -Infinity;
  // Math.max passes NaN on.
  for (let index = 0; index < logits.length; index++) {
    top = Math.max(top, logits[index] as number);
  }
  if (!Number.isFinite(top)) {
    throw new NumericError("the logits of the next token are not finite; the model has diverged");
  }
  const weights = new Float64Array(logits.length);
  for (let index = 0; index < logits.length; index++) {
    weights[index] = Math.exp(((logits[index] as number) - top) / temperature);
  }
  return weights;
}

/** The weights of the smallest heaviest set that has `topP` of the whole; zero elsewhere. */
function nucleus(weights: Float64Array, topP: number): Float64Array {
  const { lightest, count } = boundary(weights, topP * sumOf(weights));
  const kept = new Float64Array(weights.length);
  let room = count;
  for (let index = 0; index < weights.length; index++) {
    const weight = weights[index] as number;
    if (weight > lightest) kept[index] = weight;
    if (weight !== lightest || room === 0) continue;
    kept[index] = weight;
    room -= 1;
  }
  return kept;
}

/**
 * The lightest weight of the smallest heaviest set whose sum is at least `mass`, and how many of that
 * weight are in it. Selects instead of sorting, which takes too long for large vocabularies.
 */
function boundary(
  weights: Float64Array,
  mass: number,
): { readonly lightest: number; readonly count: number } {
  let rest = weights;
  let wanted = mass;
  while (rest.length > 0) {
    const pivot = rest[rest.length >> 1] as number;
    const { heavier, lighter } = split(rest, pivot);
    const above = sumOf(heavier);
    if (heavier.length > 0 && above >= wanted) {
      rest = heavier;
      continue;
    }
    wanted -= above;
    const equals = rest.length - heavier.length - lighter.length;
    if (equals * pivot >= wanted) {
      return { lightest: pivot, count: Math.max(1, Math.ceil(wanted / pivot)) };
    }
    wanted -= equals * pivot;
    rest = lighter;
  }
  // Rounding may leave a mass that no weight has: all are in.
  return { lightest: 0, count: 0 };
}

function split(
  values: Float64Array,
  pivot: number,
): { readonly heavier: Float64Array; readonly lighter: Float64Array } {
  const heavier = new Float64Array(values.length);
  const lighter = new Float64Array(values.length);
  let more = 0;
  let less = 0;
  // A loop, since the methods of typed arrays call back for each element and are slow here.
  for (let index = 0; index < values.length; index++) {
    const value = values[index] as number;
    if (value > pivot) heavier[more++] = value;
    else if (value < pivot) lighter[less++] = value;
  }
  return { heavier: heavier.subarray(0, more), lighter: lighter.subarray(0, less) };
}

function sumOf(values: Float64Array): number {
  let total = 0;
  for (let index = 0; index < values.length; index++) total += values[index] as number;
  return total;
}
