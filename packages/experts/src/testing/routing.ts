import {
  type Backend,
  type Tensor,
  type TokenChoice,
  hostNormal,
  hostUniform,
  randomKey,
  sizeOf,
} from "@moiety/core";

/** Normal numbers in f64. */
export function random(backend: Backend, seed: number, shape: readonly number[]): Tensor {
  return backend.tensor(hostNormal(randomKey(seed), sizeOf(shape)), { shape });
}

/** A routing as plain lists. */
export interface HandRouting {
  readonly experts: number;
  /** `[T][k]`; `experts` means no expert. */
  readonly choices: readonly (readonly number[])[];
  /** `[T][k]`. */
  readonly weights: readonly (readonly number[])[];
  readonly inputWeights?: readonly (readonly number[])[] | undefined;
}

/** Draws distinct experts for each token; about one choice in eight finds no place. */
export function drawRouting(
  seed: number,
  tokens: number,
  topK: number,
  experts: number,
  weighInput = false,
): HandRouting {
  const count = tokens * experts;
  const draws = hostUniform(randomKey(seed), count + tokens * topK);
  const table = (key: number): number[][] => {
    const values = [...hostNormal(randomKey(key), tokens * topK)];
    return Array.from({ length: tokens }, (_, token) =>
      values.slice(token * topK, (token + 1) * topK),
    );
  };
  const choices = Array.from({ length: tokens }, (_, token) =>
    Array.from({ length: experts }, (_value, expert) => expert)
      .sort((a, b) => (draws[token * experts + a] ?? 0) - (draws[token * experts + b] ?? 0))
      .slice(0, topK)
      .map((expert, j) => ((draws[count + token * topK + j] ?? 0) < 0.125 ? experts : expert)),
  );
  return {
    experts,
    choices,
    weights: table(seed + 1),
    inputWeights: weighInput ? table(seed + 2) : undefined,
  };
}

/** The routing as a router gives it. */
export function routingOf(backend: Backend, hand: HandRouting): TokenChoice {
  const { choices, experts } = hand;
  const shape = [choices.length, choices[0]?.length ?? 0];
  const floats = (rows: readonly (readonly number[])[]): Tensor =>
    backend.tensor(Float64Array.from(rows.flat()), { shape });
  const indices = backend.tensor(Int32Array.from(choices.flat()), { shape });
  const logits = backend.tensor(new Float64Array(choices.length * experts), {
    shape: [choices.length, experts],
  });
  return {
    kind: "token-choice",
    experts,
    logits,
    scores: logits,
    indices,
    selected: indices,
    outputWeights: floats(hand.weights),
    inputWeights: hand.inputWeights && floats(hand.inputWeights),
  };
}

/** `Σⱼ wⱼ f(eⱼ, vⱼ·x)` token by token, by plain loops. */
export function mixNaively(
  hand: HandRouting,
  x: readonly (readonly number[])[],
  outputSize: number,
  expert: (id: number, input: readonly number[]) => readonly number[],
): number[][] {
  return x.map((row, token) => {
    const total = new Array<number>(outputSize).fill(0);
    for (const [j, id] of (hand.choices[token] ?? []).entries()) {
      if (id === hand.experts) continue;
      const factor = hand.inputWeights?.[token]?.[j] ?? 1;
      const output = expert(
        id,
        row.map((value) => value * factor),
      );
      for (let o = 0; o < outputSize; o++) {
        total[o] = (total[o] ?? 0) + (hand.weights[token]?.[j] ?? 0) * (output[o] ?? 0);
      }
    }
    return total;
  });
}

/** The rows of a tensor `[rows, columns]`. */
export async function rowsOf(tensor: Tensor): Promise<number[][]> {
  const values = [...(await tensor.read())];
  const [rows = 0, columns = 0] = tensor.shape;
  return Array.from({ length: rows }, (_, row) => values.slice(row * columns, (row + 1) * columns));
}

/** The matrix of one expert in `[E, rows, columns]`, flat. */
export async function matrixOf(tensor: Tensor, expert: number): Promise<number[]> {
  const [, rows = 0, columns = 1] = tensor.shape;
  const size = rows * columns;
  return [...(await tensor.read())].slice(expert * size, (expert + 1) * size);
}

/** The largest difference between two tables, or ∞ where they differ in form or are not numbers. */
export function distance(
  found: readonly (readonly number[])[],
  wanted: readonly (readonly number[])[],
): number {
  const [a, b] = [found.flat(), wanted.flat()];
  if (a.length !== b.length || a.length === 0) return Number.POSITIVE_INFINITY;
  const most = Math.max(...a.map((value, at) => Math.abs(value - (b[at] ?? Number.NaN))));
  return Number.isNaN(most) ? Number.POSITIVE_INFINITY : most;
}
