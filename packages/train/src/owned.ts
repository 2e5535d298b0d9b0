import { type Tensor, isQuantized, isTensor, leavesOf } from "@moiety/core";

/** Every tensor in a tree of arrays and plain objects. */
export function tensorsOf(tree: unknown): Tensor[] {
  return leavesOf(tree).flatMap(({ leaf }) =>
    isQuantized(leaf) ? [leaf.codes, leaf.scales] : isTensor(leaf) ? [leaf] : [],
  );
}

/** Frees every tensor in a tree, but those that `kept` holds too. */
export function disposeTree(tree: unknown, kept?: unknown): void {
  const held = new Set(kept === undefined ? [] : tensorsOf(kept));
  for (const tensor of tensorsOf(tree)) if (!held.has(tensor)) tensor.dispose();
}
