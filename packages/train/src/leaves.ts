import { ConfigError, type Leaf, type Tensor, at, isTensor, leavesOf, mapTree } from "@moiety/core";

/** A leaf of the parameters that an update changes. */
export interface UpdatedLeaf {
  readonly path: string;
  readonly parameter: Tensor;
  readonly gradient: Tensor;
  /** What stands at the same place of each moment tree. */
  readonly moments: readonly Tensor[];
}

/** What becomes of such a leaf. */
export interface LeafResult {
  readonly parameter: Tensor;
  readonly moments: readonly Tensor[];
}

/** Updates every leaf that has a gradient and gives the trees with the new tensors in place. */
export function updateLeaves<Params, Tree>(
  params: Params,
  grads: unknown,
  moments: readonly Tree[],
  update: (leaf: UpdatedLeaf) => LeafResult,
): { readonly params: Params; readonly moments: readonly Tree[] } {
  // All is looked up before anything is consumed, so that a wrong tree harms nothing.
  const found = leavesOf(params).flatMap(({ path, leaf }) => leafAt(path, leaf, grads, moments));
  const results = new Map(found.map((leaf) => [leaf.path, update(leaf)]));
  return {
    params: mapTree(params, (leaf, path) => results.get(path)?.parameter ?? leaf) as Params,
    moments: moments.map((tree, index) =>
      replaceAt(params, tree, (path) => results.get(path)?.moments[index]),
    ),
  };
}

function leafAt(
  path: string,
  leaf: Leaf,
  grads: unknown,
  moments: readonly unknown[],
): UpdatedLeaf[] {
  const gradient = at(grads, path);
  if (gradient === null || gradient === undefined) return [];
  return [
    {
      path,
      parameter: requireTensor(leaf, path, "parameter"),
      gradient: requireTensor(gradient, path, "gradient"),
      moments: moments.map((tree) => requireTensor(at(tree, path), path, "optimizer state")),
    },
  ];
}

function requireTensor(value: unknown, path: string, what: string): Tensor {
  if (isTensor(value)) return value;
  throw new ConfigError(
    `the ${what} at ${path} is no tensor, but its gradient is given; freeze the leaf, or use the ` +
      "state that the optimizer's init made for these parameters",
    path,
    value,
  );
}

function replaceAt<Tree>(
  params: unknown,
  tree: Tree,
  replacement: (path: string) => Tensor | undefined,
): Tree {
  return mapTree(params, (_, path) => replacement(path) ?? at(tree, path)) as Tree;
}
