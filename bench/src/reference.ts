import type { HostMatrix, HostWeights, LayerSizes } from "./weights.ts";

/** What some tokens of a batch have to give. */
export interface Reference {
  readonly hidden: number;
  /** The tokens that are compared. */
  readonly tokens: readonly number[];
  /** `[tokens.length, H]`. */
  readonly outputs: Float64Array;
}

/** Choices that lie closer together than this may fall differently in float32. */
const CLEAR = 1e-4;

/**
 * The layer in float64 and plain loops, for up to `count` tokens spread over the batch: router,
 * softmax, the k best divided by their sum, SwiGLU experts, weighted sum. Tokens whose choice is not
 * clear are left out.
 */
export function referenceOf(
  weights: HostWeights,
  sizes: LayerSizes,
  input: Float32Array,
  count: number,
): Reference {
  const { hidden } = sizes;
  const total = input.length / hidden;
  const tokens: number[] = [];
  const rows: Float64Array[] = [];
  const step = Math.max(1, Math.floor(total / count));
  for (let token = 0; token < total && tokens.length < count; token += step) {
    const x = Float64Array.from(input.subarray(token * hidden, (token + 1) * hidden));
    const chosen = choose(weights.router, sizes, x);
    if (chosen === undefined) continue;
    tokens.push(token);
    rows.push(mix(weights, sizes, x, chosen));
  }
  if (tokens.length === 0) throw new Error("no token's choice is clear: take other sizes");
  const outputs = new Float64Array(rows.length * hidden);
  for (const [index, row] of rows.entries()) outputs.set(row, index * hidden);
  return { hidden, tokens, outputs };
}

/** {@link worstError} of an output `[T, H]`, on the tokens that are compared. */
export function errorOf({ hidden, tokens, outputs }: Reference, found: Float32Array): number {
  const compared = new Float64Array(outputs.length).fill(Number.NaN);
  for (const [index, token] of tokens.entries()) {
    compared.set(found.subarray(token * hidden, (token + 1) * hidden), index * hidden);
  }
  return worstError(outputs, compared);
}

/** The largest error as a share of the largest wanted value; infinite where a number is none. */
export function worstError(wanted: ArrayLike<number>, found: ArrayLike<number>): number {
  let [largest, error] = [0, 0];
  for (let index = 0; index < wanted.length; index++) {
    const value = wanted[index] ?? Number.NaN;
    const difference = Math.abs(value - (found[index] ?? Number.NaN));
    if (Number.isNaN(difference)) return Number.POSITIVE_INFINITY;
    error = Math.max(error, difference);
    largest = Math.max(largest, Math.abs(value));
  }
  return largest === 0 ? error : error / largest;
}

interface Choice {
  readonly expert: number;
  readonly weight: number;
}

function choose(
  router: HostMatrix,
  { hidden, experts, topK }: LayerSizes,
  x: Float64Array,
): Choice[] | undefined {
  const ranked = Array.from({ length: experts }, (_, expert) => ({
    expert,
    logit: dot(router, expert * hidden, x),
  })).sort((a, b) => b.logit - a.logit);
  const chosen = ranked.slice(0, topK);
  const [last, next] = [chosen.at(-1)?.logit ?? 0, ranked[topK]?.logit ?? Number.NEGATIVE_INFINITY];
  if (last - next < CLEAR) return undefined;
  const powers = chosen.map(({ logit }) => Math.exp(logit - (ranked[0]?.logit ?? 0)));
  const sum = powers.reduce((total, power) => total + power, 0);
  return chosen.map(({ expert }, place) => ({ expert, weight: (powers[place] ?? 0) / sum }));
}

function mix(
  { gateUp, down }: HostWeights,
  { hidden, intermediate }: LayerSizes,
  x: Float64Array,
  chosen: readonly Choice[],
): Float64Array {
  const result = new Float64Array(hidden);
  const inner = new Float64Array(intermediate);
  for (const { expert, weight } of chosen) {
    for (let column = 0; column < intermediate; column++) {
      const row = (expert * intermediate + column) * 2 * hidden;
      const gate = dot(gateUp, row, x);
      inner[column] = (gate / (1 + Math.exp(-gate))) * dot(gateUp, row + hidden, x);
    }
    for (let column = 0; column < hidden; column++) {
      const row = (expert * hidden + column) * intermediate;
      result[column] = (result[column] ?? 0) + weight * dot(down, row, inner);
    }
  }
  return result;
}

/** One row of a matrix, which begins at `start`, times a vector. */
function dot(matrix: HostMatrix, start: number, vector: Float64Array): number {
  let sum = 0;
  for (let index = 0; index < vector.length; index++) {
    sum += matrix.at(start + index) * (vector[index] ?? 0);
  }
  return sum;
}
