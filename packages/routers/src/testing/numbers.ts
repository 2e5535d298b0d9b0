import create from "@moiety/backend-cpu";
import {
  type Backend,
  type Leaf,
  type Tensor,
  type TokenChoice,
  hostNormal,
  leavesOf,
  mapTree,
  mul,
  randomKey,
  sum,
  valueAndGrad,
} from "@moiety/core";
import { expect } from "vitest";

/** The oracle. */
export const backend: Backend = await create();

/** A float64 tensor. */
export function f64(data: readonly number[], shape: readonly number[]): Tensor {
  return backend.tensor([...data], { shape, dtype: "f64" });
}

/** An i32 tensor `[n]`. */
export function i32(...data: readonly number[]): Tensor {
  return backend.tensor(Int32Array.from(data));
}

/** Normal numbers of a seed. */
export function draws(seed: number, count: number): number[] {
  return [...hostNormal(randomKey(seed), count)];
}

/** A float64 tensor of normal numbers. */
export function drawn(seed: number, shape: readonly number[]): Tensor {
  const count = shape.reduce((product, size) => product * size, 1);
  return f64(draws(seed, count), shape);
}

/** `[E, E]`: a weight that makes a router's input its logits. */
export function identity(experts: number): Tensor {
  const data = Array.from({ length: experts ** 2 }, (_, at) => (at % (experts + 1) ? 0 : 1));
  return f64(data, [experts, experts]);
}

/** The elements. */
export async function values(tensor: Tensor | null | undefined): Promise<number[]> {
  return tensor ? Array.from(await tensor.read(), Number) : [];
}

/** The elements of `[rows, n]` by row. */
export async function rowsOf(tensor: Tensor): Promise<number[][]> {
  const width = tensor.shape.at(-1) ?? 1;
  const all = await values(tensor);
  return Array.from({ length: all.length / Math.max(width, 1) }, (_, row) =>
    all.slice(row * width, (row + 1) * width),
  );
}

/** Row by row, what a routing chose, what ran, and with what weights. */
export async function rowsOfRouting(routing: TokenChoice): Promise<{
  selected: number[][];
  indices: number[][];
  weights: number[][];
}> {
  return {
    selected: await rowsOf(routing.selected),
    indices: await rowsOf(routing.indices),
    weights: await rowsOf(routing.outputWeights),
  };
}

/** The largest difference between two lists; ∞ where lengths differ or a number is missing. */
export function distance(found: readonly number[], wanted: readonly number[]): number {
  if (found.length !== wanted.length) return Number.POSITIVE_INFINITY;
  const gaps = wanted.map((value, at) => Math.abs((found[at] as number) - value));
  return gaps.some(Number.isNaN) ? Number.POSITIVE_INFINITY : Math.max(0, ...gaps);
}

/** x · Wᵀ of rows, by plain loops. */
export function times(
  x: readonly (readonly number[])[],
  weight: readonly (readonly number[])[],
): number[][] {
  return x.map((row) =>
    weight.map((column) =>
      column.reduce((total, value, at) => total + value * (row[at] as number), 0),
    ),
  );
}

/** e^l / Σ e^l. */
export function softmaxOf(logits: readonly number[]): number[] {
  const powers = logits.map((value) => Math.exp(value - Math.max(...logits)));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}

/** gelu by a series that is exact enough here: Φ from erf(z) = 2/√π Σ (−1)ⁿ z²ⁿ⁺¹ / (n! (2n+1)). */
export function geluOf(value: number): number {
  const z = value / Math.SQRT2;
  let term = z;
  let total = z;
  for (let n = 1; n < 80; n++) {
    term *= (-z * z) / n;
    total += term / (2 * n + 1);
  }
  return (value * (1 + (2 / Math.sqrt(Math.PI)) * total)) / 2;
}

/** Expert numbers by falling value, ties to the lower. */
export function ranked(scores: readonly number[]): number[] {
  return scores
    .map((_, expert) => expert)
    .sort((a, b) => (scores[b] as number) - (scores[a] as number) || a - b);
}

/** Numbers drawn in the place of every leaf of a tree. */
export function redrawn<Params>(params: Params, seed: number): Params {
  let next = seed;
  const make = (leaf: Leaf): Tensor => drawn(next++, (leaf as Tensor).shape);
  return mapTree(params, make) as unknown as Params;
}

/**
 * Compares the gradients of Σ weights · upstream with central differences, leaf by leaf; the choices
 * must not move on the way.
 */
export async function expectGradients<Params>(
  params: Params,
  route: (params: Params) => TokenChoice,
): Promise<void> {
  const loss = (own: Params): { loss: Tensor; aux: Tensor } => {
    const { outputWeights, indices } = route(own);
    const upstream = drawn(77, outputWeights.shape);
    return { loss: sum(mul(outputWeights, upstream)), aux: indices };
  };
  const { grads, aux } = valueAndGrad(loss)(params);
  const slopes = leavesOf(grads);
  const step = 1e-6;
  let moving = 0;
  for (const { path, leaf } of leavesOf(params)) {
    const slope = slopes.find((other) => other.path === path)?.leaf as Tensor | undefined;
    expect(slope, path).toBeDefined();
    const data = await values(leaf as Tensor);
    const found = await values(slope);
    for (const [at, value] of data.entries()) {
      const moved = async (by: number): Promise<number> => {
        const other = f64(data.with(at, value + by), (leaf as Tensor).shape);
        const own = mapTree(params, (kept, where) => (where === path ? other : kept)) as Params;
        const result = loss(own);
        expect(await values(result.aux)).toEqual(await values(aux));
        return result.loss.item();
      };
      const difference = ((await moved(step)) - (await moved(-step))) / (2 * step);
      expect(found[at], `${path}[${at}]`).toBeCloseTo(difference, 6);
      if (difference !== 0) moving++;
    }
  }
  expect(moving).toBeGreaterThan(0);
}
