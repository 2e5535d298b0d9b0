import { ConfigError } from "./errors.ts";
import { type Tensor, internals, isTensor } from "./tensor.ts";

/** The tensors made while it was the innermost scope of its engine. */
export class Scope {
  /** Hands what it made on to its parent at the end, because a checkpoint may read it again. */
  held = false;
  readonly #parent: Scope | undefined;
  readonly #tensors = new Set<Tensor>();

  constructor(parent: Scope | undefined) {
    this.#parent = parent;
  }

  add(tensor: Tensor): void {
    tensor[internals].scope = this;
    this.#tensors.add(tensor);
  }

  remove(tensor: Tensor): void {
    tensor[internals].scope = undefined;
    this.#tensors.delete(tensor);
  }

  /** Frees every tensor but those found in `kept`, which go to the parent scope. */
  close(kept: unknown): void {
    for (const tensor of this.held ? [...this.#tensors] : tensorsIn(kept)) {
      if (tensor[internals].scope !== this) continue;
      this.remove(tensor);
      this.#parent?.add(tensor);
    }
    for (const tensor of this.#tensors) tensor.dispose();
    this.#tensors.clear();
  }
}

/** Every tensor in a value, searched through arrays, plain objects, maps and sets. */
export function tensorsIn(value: unknown): Set<Tensor> {
  const found = new Set<Tensor>();
  const seen = new Set<object>();
  const visit = (item: unknown): void => {
    if (typeof item !== "object" || item === null || seen.has(item)) return;
    seen.add(item);
    if (isTensor(item)) found.add(item);
    else if (Array.isArray(item) || item instanceof Set) item.forEach(visit);
    else if (item instanceof Map) item.forEach(visit);
    else if (isPlainObject(item)) Object.values(item).forEach(visit);
  };
  visit(value);
  return found;
}

/** A copy of a value with other tensors, through arrays, plain objects, maps and sets. */
export function mapTensors<T>(value: T, map: (tensor: Tensor) => Tensor): T {
  const seen = new Map<unknown, unknown>();
  const copy = (item: unknown): unknown => {
    if (typeof item !== "object" || item === null) return item;
    const before = seen.get(item);
    if (before !== undefined) return before;
    const after = copyOf(item);
    seen.set(item, after);
    return after;
  };
  const copyOf = (item: object): unknown => {
    if (isTensor(item)) return map(item);
    if (Array.isArray(item)) return item.map(copy);
    if (item instanceof Set) return new Set([...item].map(copy));
    if (item instanceof Map) return new Map([...item].map(([key, child]) => [key, copy(child)]));
    if (!isPlainObject(item)) return item;
    return Object.fromEntries(Object.entries(item).map(([key, child]) => [key, copy(child)]));
  };
  return copy(value) as T;
}

/** Throws unless a scope's result is there now: tensors of a later turn would outlive the scope. */
export function assertSynchronous(result: unknown): void {
  if (typeof result !== "object" || result === null) return;
  const { then, next } = result as { then?: unknown; next?: unknown };
  if (typeof then !== "function" && typeof next !== "function") return;
  const kind = typeof then === "function" ? "a promise" : "an unfinished generator";
  throw new ConfigError(
    `a scope is synchronous, but its body returned ${kind}; await outside, or drain it inside`,
    "body",
    kind,
  );
}

/** Whether a value is an object literal (its members are searched for tensors). */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
