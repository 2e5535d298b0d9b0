import { ConfigError } from "./errors.ts";
import { isPlainObject } from "./scope.ts";
import { type Tensor, isTensor } from "./tensor.ts";

/** Weights in a quantised format: codes, and scales that give them their size. They do not train. */
export interface QuantizedTensor {
  readonly codes: Tensor;
  readonly scales: Tensor;
}

/** A leaf of a parameter tree. */
export type Leaf = Tensor | QuantizedTensor;

/** Replaces every leaf of a tree type, keeping its shape. */
export type MapTree<P, R> = P extends Leaf
  ? R
  : P extends (...args: never) => unknown
    ? P
    : { [K in keyof P]: MapTree<P[K], R> };

/** Whether a node of a tree is a quantised leaf. */
export function isQuantized(value: unknown): value is QuantizedTensor {
  return isPlainObject(value) && isTensor(value["codes"]) && isTensor(value["scales"]);
}

/** Maps the leaves of one tree; other values stay as they are. Paths look like `layers.0.gate`. */
export function mapTree<P, R>(tree: P, map: (leaf: Leaf, path: string) => R): MapTree<P, R> {
  return walk(tree, "", map) as MapTree<P, R>;
}

/** Calls `visit` with every leaf and its path, in the order of keys. */
export function forEachLeaf(tree: unknown, visit: (leaf: Leaf, path: string) => void): void {
  mapTree(tree, visit);
}

/** Every leaf with its path. */
export function leavesOf(tree: unknown): { readonly path: string; readonly leaf: Leaf }[] {
  const leaves: { path: string; leaf: Leaf }[] = [];
  forEachLeaf(tree, (leaf, path) => leaves.push({ path, leaf }));
  return leaves;
}

/**
 * Maps the leaves of a tree together with what stands at the same place in trees of equal form
 * (gradients, optimizer moments; `null` may stand for a leaf there).
 * @throws ConfigError where the trees differ in form
 */
export function zipTree<P, R>(
  tree: P,
  others: readonly unknown[],
  map: (leaf: Leaf, path: string, ...others: readonly unknown[]) => R,
): MapTree<P, R> {
  return mapTree(tree, (leaf, path) => map(leaf, path, ...others.map((other) => at(other, path))));
}

/** The value at a path such as `layers.0.gate`; the empty path is the tree itself. */
export function at(tree: unknown, path: string): unknown {
  if (path === "") return tree;
  let node: unknown = tree;
  for (const key of path.split(".")) {
    if (typeof node !== "object" || node === null || !Object.hasOwn(node, key)) {
      throw new ConfigError(`the tree has nothing at ${path}`, path, undefined);
    }
    node = (node as Record<string, unknown>)[key];
  }
  return node;
}

function walk(node: unknown, path: string, map: (leaf: Leaf, path: string) => unknown): unknown {
  if (isTensor(node) || isQuantized(node)) return map(node, path);
  const below = (key: string | number): string => (path === "" ? `${key}` : `${path}.${key}`);
  if (Array.isArray(node)) return node.map((child, index) => walk(child, below(index), map));
  if (!isPlainObject(node)) return node;
  return Object.fromEntries(
    Object.entries(node).map(([key, child]) => [key, walk(child, below(key), map)]),
  );
}
