import { ConfigError, type Tensor, isTensor } from "@moiety/core";
import type { JsonValue } from "@moiety/checkpoints";

/** A tree with its tensors replaced by names: what a file says of its form. */
export type TreeNode =
  | { readonly tensor: string }
  | { readonly list: readonly TreeNode[] }
  | { readonly tree: { readonly [key: string]: TreeNode } }
  | { readonly value: JsonValue };

/**
 * Takes a tree of arrays, plain objects, tensors and plain values apart. Tensors go to `take` under
 * their names, which are their paths below `name`.
 *
 * @throws ConfigError for a value that no file can hold, such as a function
 */
export function describeTree(
  node: unknown,
  name: string,
  take: (name: string, tensor: Tensor) => void,
): TreeNode {
  if (isTensor(node)) {
    take(name, node);
    return { tensor: name };
  }
  if (Array.isArray(node)) {
    return { list: node.map((child, index) => describeTree(child, `${name}.${index}`, take)) };
  }
  if (isRecord(node)) {
    const entries = Object.entries(node)
      .filter(([, child]) => child !== undefined)
      .map(([key, child]) => [key, describeTree(child, `${name}.${key}`, take)] as const);
    return { tree: Object.fromEntries(entries) };
  }
  return { value: plainValue(node, name) };
}

/** Puts a tree together again; `give` finds a tensor by its name. */
export function rebuildTree(node: TreeNode, give: (name: string) => unknown): unknown {
  if ("tensor" in node) return give(node.tensor);
  if ("list" in node) return node.list.map((child) => rebuildTree(child, give));
  if ("value" in node) return node.value;
  return Object.fromEntries(
    Object.entries(node.tree).map(([key, child]) => [key, rebuildTree(child, give)]),
  );
}

/** Every tensor's name in a described tree. */
export function tensorNames(node: TreeNode): string[] {
  if ("tensor" in node) return [node.tensor];
  if ("list" in node) return node.list.flatMap(tensorNames);
  return "tree" in node ? Object.values(node.tree).flatMap(tensorNames) : [];
}

/**
 * Checks that a value can be written as JSON and read back as it was.
 *
 * @throws ConfigError naming the place of what cannot
 */
export function plainValue(value: unknown, name: string): JsonValue {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (Array.isArray(value)) return value.map((item, index) => plainValue(item, `${name}.${index}`));
  if (isRecord(value)) {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, child]) => child !== undefined)
        .map(([key, child]) => [key, plainValue(child, `${name}.${key}`)]),
    );
  }
  throw new ConfigError(
    `${name} cannot be saved: it is ${typeof value === "object" ? "no plain object" : String(value)}; ` +
      "a snapshot holds tensors, plain objects, arrays, finite numbers, text and booleans",
    name,
    value,
  );
}

/** Whether a value is an object literal. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
