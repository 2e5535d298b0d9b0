import {
  ConfigError,
  type Tensor,
  add,
  cast,
  div,
  donate,
  fill,
  isTensor,
  leavesOf,
  mapTree,
  minimum,
  mul,
  sqrt,
  sum,
} from "@moiety/core";

/** Gradients that are clipped together. */
export interface ClipGroup {
  /** Which leaves belong to it, by path. A leaf belongs to the first group that wants it. */
  readonly match: (path: string) => boolean;
  /** Largest norm that the group may keep; `Infinity` only measures. */
  readonly maxNorm: number;
}

/** What {@link clipByGlobalNorm} gives. */
export interface ClippedGradients<Grads> {
  readonly grads: Grads;
  /** Scalar: the norm over all gradients before clipping. */
  readonly norm: Tensor;
}

/** What {@link clipByGroups} gives. */
export interface GroupedGradients<Grads> extends ClippedGradients<Grads> {
  /** Scalars: the norm of each group before clipping; 0 for a group without gradients. */
  readonly groupNorms: readonly Tensor[];
}

interface GradientLeaf {
  readonly path: string;
  readonly gradient: Tensor;
}

/**
 * Scales all gradients by `min(1, maxNorm / (norm + 1e-6))`, as PyTorch's `clip_grad_norm_` does,
 * without reading anything back. The gradients are consumed; `null` leaves stay.
 *
 * @throws ConfigError where there is no gradient, or the norm is not above 0
 */
export function clipByGlobalNorm<Grads>(grads: Grads, maxNorm: number): ClippedGradients<Grads> {
  const clipped = clipByGroups(grads, [{ match: () => true, maxNorm }]);
  for (const tensor of clipped.groupNorms) tensor.dispose();
  return { grads: clipped.grads, norm: clipped.norm };
}

/**
 * Clips each group by its own norm, such as routers apart from all the rest. Leaves that belong to
 * no group are not clipped, but count in `norm`. The gradients are consumed.
 *
 * @throws ConfigError where there is no gradient, or a norm is not above 0
 */
export function clipByGroups<Grads>(
  grads: Grads,
  groups: readonly ClipGroup[],
): GroupedGradients<Grads> {
  for (const { maxNorm } of groups) requireNorm(maxNorm);
  const leaves = gradientLeaves(grads);
  const [first] = leaves;
  if (first === undefined) {
    throw new ConfigError("there is no gradient to clip: every leaf is null", "grads", grads);
  }
  const { backend } = first.gradient;
  return backend.scope(() => {
    const dtype = leaves.some(({ gradient }) => gradient.dtype === "f64") ? "f64" : "f32";
    const zero = (): Tensor => fill(backend, { shape: [], value: 0, dtype });
    const squares = new Map(
      leaves.map(({ path, gradient }) => [path, cast(sum(mul(gradient, gradient)), { dtype })]),
    );
    const norms = groups.map((_, index) => {
      const members = leaves.filter(({ path }) => groupOf(groups, path) === index);
      return sqrt(totalOf(members, squares, zero()));
    });
    const scales = norms.map((norm, index) => scaleOf(norm, groups[index]?.maxNorm ?? Infinity));
    const norm = sqrt(totalOf(leaves, squares, zero()));
    const clipped = mapTree(grads, (leaf, path) => {
      const scale = scales[groupOf(groups, path)];
      if (scale === undefined || !isTensor(leaf)) return leaf;
      const fitting = scale.dtype === leaf.dtype ? scale : cast(scale, { dtype: leaf.dtype });
      return mul(donate(leaf), fitting);
    }) as Grads;
    return { grads: clipped, norm, groupNorms: norms };
  });
}

/** Scalar: the root of the sum of squares over all gradients of a tree. */
export function globalNorm(grads: unknown): Tensor {
  return clipByGroups(grads, []).norm;
}

function gradientLeaves(grads: unknown): GradientLeaf[] {
  return leavesOf(grads).flatMap(({ path, leaf }) =>
    isTensor(leaf) ? [{ path, gradient: leaf }] : [],
  );
}

function groupOf(groups: readonly ClipGroup[], path: string): number {
  return groups.findIndex(({ match }) => match(path));
}

/** Adds in the order of the tree, so that the same tree gives the same bits. */
function totalOf(
  leaves: readonly GradientLeaf[],
  squares: ReadonlyMap<string, Tensor>,
  zero: Tensor,
): Tensor {
  let total = zero;
  for (const { path } of leaves) {
    const square = squares.get(path);
    if (square) total = add(total, square);
  }
  return total;
}

function scaleOf(norm: Tensor, maxNorm: number): Tensor | undefined {
  if (maxNorm === Infinity) return undefined;
  const limit = fill(norm.backend, { shape: [], value: maxNorm, dtype: norm.dtype });
  return minimum(div(limit, add(norm, 1e-6)), 1);
}

function requireNorm(maxNorm: number): void {
  if (maxNorm > 0) return;
  throw new ConfigError(
    `the largest gradient norm is ${maxNorm}, but must be above 0 (Infinity for no clipping)`,
    "maxNorm",
    maxNorm,
  );
}
