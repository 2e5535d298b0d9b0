import {
  type Backend,
  type Leaf,
  type Tensor,
  at,
  leavesOf,
  mapTree,
  valueAndGrad,
} from "@moiety/core";

/** One derivative both ways. */
export interface Derivative {
  readonly path: string;
  /** By the gradient; `null` where the leaf has none. */
  readonly analytic: number | null;
  /** By central differences. */
  readonly numeric: number;
}

/**
 * For each leaf (f64) the derivative of a loss at the place where the gradient is largest, by the
 * gradient and by central differences.
 */
export async function derivatives<Tree>(
  backend: Backend,
  tree: Tree,
  loss: (tree: Tree) => Tensor,
): Promise<Derivative[]> {
  const { grads } = valueAndGrad(loss)(tree);
  const found: Derivative[] = [];
  for (const { path, leaf } of leavesOf(tree)) {
    const values = (await (leaf as Tensor).read()) as Float64Array;
    const gradient = at(grads, path) as Tensor | null;
    const slopes = gradient ? [...(await gradient.read())] : [0];
    const index = slopes.reduce(
      (best, slope, i) => (Math.abs(slope) > Math.abs(slopes[best] ?? 0) ? i : best),
      0,
    );
    const shifted = async (by: number): Promise<number> => {
      const moved = values.with(index, (values[index] ?? 0) + by);
      const put = (other: Leaf, where: string): Leaf =>
        where === path ? backend.tensor(moved, { shape: (leaf as Tensor).shape }) : other;
      return loss(mapTree(tree, put) as Tree).item();
    };
    const step = 1e-5;
    found.push({
      path,
      analytic: gradient ? (slopes[index] ?? Number.NaN) : null,
      numeric: ((await shifted(step)) - (await shifted(-step))) / (2 * step),
    });
  }
  return found;
}

/** The derivatives that do not agree, or that are zero and so show nothing. */
export function wrong(found: readonly Derivative[]): Derivative[] {
  return found.filter(({ analytic, numeric }) => {
    if (analytic === null || Math.abs(analytic) < 1e-8) return true;
    return !(Math.abs(numeric / analytic - 1) < 1e-6);
  });
}
