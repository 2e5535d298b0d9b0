import { ConfigError, ShapeError, type Shape, formatShape, sizeOf } from "@moiety/core";
import { listSome } from "../text.ts";
import {
  type ExpandedRule,
  type RuleSizes,
  type TensorRule,
  type TensorStorage,
  expandRules,
} from "./rule.ts";

/** One tensor of a checkpoint that is a part of a path. */
export interface TensorPart {
  /** Its name in the checkpoint. */
  readonly name: string;
  /** Its shape in the checkpoint. */
  readonly shape: Shape;
  /** Where its elements begin in the path's array. */
  readonly start: number;
  /** How many elements it has. */
  readonly size: number;
  /** Where they do not follow each other there: so many equal pieces, each `step` after the last. */
  readonly pieces?: Pieces | undefined;
}

/** Equal pieces of an array at equal distances. */
export interface Pieces {
  readonly count: number;
  /** From the beginning of a piece to that of the next. */
  readonly step: number;
}

/** A path of the parameter tree, bound to the tensors that make it up. */
export interface TensorBinding {
  /** The path, such as `layers.0.experts.gateUp`. */
  readonly path: string;
  /** Its shape in the tree. */
  readonly shape: Shape;
  /** Whether the parts hold their last two axes the other way round. */
  readonly isTransposed: boolean;
  /** Whether a checkpoint may lack it. */
  readonly isOptional: boolean;
  /** Its tensors, in the order of its elements. Together they cover them. */
  readonly parts: readonly TensorPart[];
  /** How a checkpoint may hold the parts where not as plain values. */
  readonly storage?: TensorStorage | undefined;
}

/**
 * Binds every path of a parameter tree to tensors of a checkpoint. `shapes` are the tree's leaves by
 * path; it decides which rules matter: one whose path it does not hold (a bias that this
 * configuration does without) is left out.
 *
 * Throws {@link ConfigError} for a path without a rule, or with two, and for a rule that makes no
 * sense; {@link ShapeError} for a shape that its rule cannot divide.
 */
export function bindRules(
  rules: readonly TensorRule[],
  sizes: RuleSizes,
  shapes: ReadonlyMap<string, Shape>,
): TensorBinding[] {
  const bound = new Map<string, TensorBinding>();
  for (const expanded of expandRules(rules, sizes)) {
    const { path } = expanded;
    const shape = shapes.get(path);
    if (shape === undefined) continue;
    if (bound.has(path)) {
      throw new ConfigError(`two rules are for the path ${path}; keep one`, "rules", path);
    }
    bound.set(path, bind(expanded, shape));
  }
  const unbound = [...shapes.keys()].filter((path) => !bound.has(path));
  if (unbound.length > 0) {
    throw new ConfigError(
      `no rule says where to find ${listSome(unbound)}; add one for each path of the tree`,
      "rules",
      unbound,
    );
  }
  return [...bound.values()];
}

function bind({ rule, path, isStacked, names }: ExpandedRule, shape: Shape): TensorBinding {
  const refuse = (why: string): never => {
    throw new ShapeError(`${path} has shape ${formatShape(shape)}, but its rule ${why}`, {
      shapes: [shape],
    });
  };
  if (isStacked && shape[0] !== names.length) refuse(`stacks ${names.length} experts on axis 0`);
  if (rule.stacked && shape.length < 2) refuse("has experts on axis 0 and rows on axis 1");
  const inner = isStacked || rule.stacked ? shape.slice(1) : shape;
  const isTransposed = rule.transpose === true;
  const isMatrix = inner.length === 2 || (inner.length > 2 && !rule.stacked);
  if (isTransposed && !isMatrix) refuse("transposes two axes");
  const rows = shareRows(inner[0], rule, refuse);
  const [count = 1] = rule.stacked ? shape : [];
  const pieces = rule.stacked ? { count, step: sizeOf(inner) } : undefined;
  const parts: TensorPart[] = [];
  let start = 0;
  for (const ofExpert of names) {
    ofExpert.forEach((name, index) => {
      const part = inner.length === 0 ? [] : [rows[index] ?? 0, ...inner.slice(1)];
      const whole = rule.stacked ? [count, ...part] : part;
      const held = axesOf(isTransposed ? swapLast(whole) : whole, rule, refuse);
      parts.push({ name, shape: held, start, size: sizeOf(whole), ...(pieces && { pieces }) });
      start += sizeOf(part);
    });
  }
  const { storage, optional } = rule;
  return {
    path,
    shape,
    isTransposed,
    isOptional: optional === true,
    parts,
    ...(storage && { storage }),
  };
}

/** The shape by the checkpoint's own count of axes. */
function axesOf(shape: Shape, { axes }: TensorRule, refuse: (why: string) => never): Shape {
  if (axes === "leadingOne") return [1, ...shape];
  if (axes === undefined) return shape;
  const [first, second, ...rest] = shape;
  if (first === undefined || second === undefined) return refuse("joins two axes");
  return [first * second, ...rest];
}

function shareRows(
  rows: number | undefined,
  { names, split }: TensorRule,
  refuse: (why: string) => never,
): readonly number[] {
  if (rows === undefined) return names.length === 1 ? [] : refuse("concatenates along axis 0");
  if (split !== undefined) {
    const total = split.reduce((sum, share) => sum + share, 0);
    return total === rows ? split : refuse(`splits ${total} rows`);
  }
  if (rows % names.length !== 0) refuse(`divides its rows by ${names.length}`);
  return names.map(() => rows / names.length);
}

/** A shape with its last two axes the other way round. */
export function swapLast(shape: Shape): number[] {
  const swapped = [...shape];
  swapped.push(...swapped.splice(-2).reverse());
  return swapped;
}
