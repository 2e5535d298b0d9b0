import {
  type Backend,
  ConfigError,
  type DType,
  type Tensor,
  add,
  concat,
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
import { inDType } from "./readings.ts";

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

/** Added to a norm before it divides. */
const MARGIN = 1e-6;

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
  const { norm, groupNorms } = gradientNorms(grads, groups);
  const clipped = norm.backend.scope(() => {
    const scales = groupNorms.map((found, index) => scaleOf(found, groups[index]?.maxNorm));
    return mapGroups(grads, groups, (leaf, group) => {
      const scale = scales[group];
      return scale && mul(donate(leaf), inDType(scale, leaf.dtype));
    });
  });
  return { grads: clipped, norm, groupNorms };
}

/** The norm over all gradients, and of each group. */
export interface GradientNorms {
  readonly norm: Tensor;
  readonly groupNorms: readonly Tensor[];
}

/** Measures gradients, and leaves them alone. @throws ConfigError as {@link clipByGroups} does */
export function gradientNorms(grads: unknown, groups: readonly ClipGroup[]): GradientNorms {
  for (const { maxNorm } of groups) requireNorm(maxNorm);
  const leaves = gradientLeaves(grads);
  const [first] = leaves;
  if (first === undefined) {
    throw new ConfigError("there is no gradient to clip: every leaf is null", "grads", grads);
  }
  const { backend } = first.gradient;
  return backend.scope(() => {
    const dtype = leaves.some(({ gradient }) => gradient.dtype === "f64") ? "f64" : "f32";
    const belongings = leaves.map(({ path }) => groupOf(groups, path));
    const squares = leaves.map(({ gradient }) =>
      inDType(sum(mul(gradient, gradient)), dtype).reshape([1]),
    );
    const norm = rootOfSum(squares, backend, dtype);
    const groupNorms = groups.map((_, group) => {
      const members = squares.filter((__, leaf) => belongings[leaf] === group);
      // Of all leaves: the same number under a handle of its own, since both are handed out.
      if (members.length === squares.length) return norm.reshape([]);
      return rootOfSum(members, backend, dtype);
    });
    return { norm, groupNorms };
  });
}

/**
 * Does what {@link clipByGroups} does once the norms of the groups have been read: nothing where they
 * are within their limits. The gradients are consumed.
 *
 * @param dtype that of the norms.
 */
export function scaleByGroups<Grads>(
  grads: Grads,
  groups: readonly ClipGroup[],
  norms: readonly number[],
  dtype: DType,
): Grads {
  const round = dtype === "f64" ? (value: number): number => value : Math.fround;
  const scales = groups.map(({ maxNorm }, index) =>
    round(maxNorm / round((norms[index] ?? 0) + MARGIN)),
  );
  if (scales.every((scale) => scale >= 1)) return grads;
  return mapGroups(grads, groups, (leaf, group) => {
    const scale = scales[group] ?? 1;
    return scale < 1 ? mul(donate(leaf), scale) : undefined;
  });
}

/** Replaces the gradients of groups by what `change` gives, where it gives something. */
function mapGroups<Grads>(
  grads: Grads,
  groups: readonly ClipGroup[],
  change: (leaf: Tensor, group: number) => Tensor | undefined,
): Grads {
  return mapTree(grads, (leaf, path) =>
    isTensor(leaf) ? (change(leaf, groupOf(groups, path)) ?? leaf) : leaf,
  ) as Grads;
}

/** Scalar: the root of the sum of squares over all gradients of a tree. */
export function globalNorm(grads: unknown): Tensor {
  return gradientNorms(grads, []).norm;
}

function gradientLeaves(grads: unknown): GradientLeaf[] {
  return leavesOf(grads).flatMap(({ path, leaf }) =>
    isTensor(leaf) ? [{ path, gradient: leaf }] : [],
  );
}

function groupOf(groups: readonly ClipGroup[], path: string): number {
  return groups.findIndex(({ match }) => match(path));
}

/** Scalar: the root of a sum of squares, each `[1]`. They are added in the order of the tree. */
function rootOfSum(squares: readonly Tensor[], backend: Backend, dtype: DType): Tensor {
  if (squares.length === 0) return fill(backend, { shape: [], value: 0, dtype });
  return sqrt(sum(concat(...squares, { axis: 0 })));
}

function scaleOf(norm: Tensor, maxNorm: number = Infinity): Tensor | undefined {
  if (maxNorm === Infinity) return undefined;
  const limit = fill(norm.backend, { shape: [], value: maxNorm, dtype: norm.dtype });
  return minimum(div(limit, add(norm, MARGIN)), 1);
}

function requireNorm(maxNorm: number): void {
  if (maxNorm > 0) return;
  throw new ConfigError(
    `the largest gradient norm is ${maxNorm}, but must be above 0 (Infinity for no clipping)`,
    "maxNorm",
    maxNorm,
  );
}
