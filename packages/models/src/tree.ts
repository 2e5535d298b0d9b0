import type { Shape } from "@moiety/core";

/** Builds a tree of a tree of shapes, leaf by leaf; paths look like `layers.0.attention.query`. */
export function mapShapes<R>(tree: unknown, map: (shape: Shape, path: string) => R): unknown {
  return walk(tree, "", map);
}

/** Every shape of a tree by its path. */
export function shapesByPath(tree: unknown): Map<string, Shape> {
  const shapes = new Map<string, Shape>();
  walk(tree, "", (shape, path) => shapes.set(path, shape));
  return shapes;
}

function walk(node: unknown, path: string, map: (shape: Shape, path: string) => unknown): unknown {
  if (isShape(node)) return map(node, path);
  const below = (key: string | number): string => (path === "" ? `${key}` : `${path}.${key}`);
  if (Array.isArray(node)) return node.map((child, index) => walk(child, below(index), map));
  if (typeof node !== "object" || node === null) return node;
  return Object.fromEntries(
    Object.entries(node).map(([key, child]) => [key, walk(child, below(key), map)]),
  );
}

// Other lists in the trees are of layers or banks, and never empty; a scalar's shape is.
function isShape(node: unknown): node is Shape {
  return Array.isArray(node) && node.every((item) => typeof item === "number");
}
