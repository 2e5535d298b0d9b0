import type { Activation } from "@moiety/core";

/** Activations written out once more, in double precision. */
export const activations: Readonly<Record<Activation, (x: number) => number>> = {
  relu: (x) => Math.max(x, 0),
  reluSquared: (x) => Math.max(x, 0) ** 2,
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  geluTanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => x / (1 + Math.exp(-x)),
  identity: (x) => x,
};

/** Rows of a matrix `[rows, columns]` times a vector. */
export function times(matrix: readonly number[], vector: readonly number[]): number[] {
  const columns = vector.length;
  return Array.from({ length: matrix.length / columns }, (_, row) =>
    vector.reduce(
      (total, value, column) => total + value * (matrix[row * columns + column] ?? 0),
      0,
    ),
  );
}

/** The Maclaurin series, exact to double precision for |x| < 3. */
function erf(x: number): number {
  let term = x;
  let total = x;
  for (let n = 1; n < 80; n++) {
    term *= -(x * x) / n;
    total += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * total;
}
