import type { Shape } from "@moiety/core";

/**
 * What may become of a weight when it is loaded: the matrices of routed experts may be held in one
 * format, other matrices in another; the rest stays float32.
 */
export type WeightKind = "experts" | "matrix" | "kept";

/** One tensor of a model. */
export interface Weight {
  readonly shape: Shape;
  readonly kind: WeightKind;
  /** Share of it that one token computes with; `undefined` where nobody knows how many are chosen. */
  readonly used: number | undefined;
  /** Whether a token reads one row of it and computes nothing: an embedding. */
  readonly isLookup: boolean;
}

/** Parameters of a model. */
export interface ParameterCount {
  readonly total: number;
  /** Those that one token computes with, embeddings counted whole. */
  readonly active: number | undefined;
}

/** Number of elements. */
export function elements({ shape }: Pick<Weight, "shape">): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Adds up over weights; `undefined` where one of them has no number. */
export function sumOver(
  weights: readonly Weight[],
  of: (weight: Weight) => number | undefined,
): number | undefined {
  let sum = 0;
  for (const weight of weights) {
    const value = of(weight);
    if (value === undefined) return undefined;
    sum += value;
  }
  return sum;
}

/** Counts parameters. */
export function countParameters(weights: readonly Weight[]): ParameterCount {
  return {
    total: sumOver(weights, elements) ?? 0,
    active: sumOver(
      weights,
      (weight) => weight.used && (weight.isLookup ? 1 : weight.used) * elements(weight),
    ),
  };
}

/** Floating-point operations of all products of a token with matrices: two for each element. */
export function matrixFlops(weights: readonly Weight[]): number | undefined {
  const matrices = weights.filter(({ shape, isLookup }) => shape.length >= 2 && !isLookup);
  return sumOver(matrices, (weight) => weight.used && 2 * weight.used * elements(weight));
}
