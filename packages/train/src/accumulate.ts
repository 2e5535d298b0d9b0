import {
  type GradientsOf,
  type Tensor,
  add,
  at,
  donate,
  isTensor,
  mapTree,
  mul,
} from "@moiety/core";

/**
 * Adds the gradients of one more micro-batch to a running sum. Both are consumed. A leaf that one of
 * them lacks (`null`) counts as zero there. `params` gives the form of the trees.
 */
export function addGradients<Params>(
  params: Params,
  sum: GradientsOf<Params>,
  grads: GradientsOf<Params>,
): GradientsOf<Params> {
  return mapTree(params, (_, path): Tensor | null => {
    const [before, gradient] = [at(sum, path), at(grads, path)];
    if (!isTensor(gradient)) return isTensor(before) ? before : null;
    if (!isTensor(before)) return gradient;
    const total = add(donate(before), gradient);
    gradient.dispose();
    return total;
  });
}

/** Divides a sum of gradients by the number of micro-batches. The sum is consumed. */
export function meanGradients<Params>(
  params: Params,
  sum: GradientsOf<Params>,
  count: number,
): GradientsOf<Params> {
  if (count === 1) return sum;
  return mapTree(params, (_, path): Tensor | null => {
    const total = at(sum, path);
    return isTensor(total) ? mul(donate(total), 1 / count) : null;
  });
}
