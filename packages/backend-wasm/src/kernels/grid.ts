import { type Shape, stridesOf } from "@moiety/core";
import type { Body } from "../emit/body.ts";
import { I32 } from "../emit/scalars.ts";
import type { KernelCall } from "../kernel.ts";
import type { LaunchArguments, Parameters, Routine } from "../routine.ts";
import { FLAT_GRAIN } from "./flat.ts";

/**
 * A shape and, for each array that is walked along it, the strides. Axes of size 1 are left out, and
 * neighbours that every array walks as one are merged; at least one axis remains.
 */
export interface Grid {
  readonly sizes: readonly number[];
  readonly strides: readonly (readonly number[])[];
}

/** Makes the {@link Grid} of a shape and the strides of each array along it. */
export function gridOf(shape: Shape, strides: readonly (readonly number[])[]): Grid {
  const sizes: number[] = [];
  const merged: number[][] = strides.map(() => []);
  for (const [axis, size] of shape.entries()) {
    if (size === 1) continue;
    const last = sizes.length - 1;
    const joins =
      last >= 0 &&
      strides.every((list, array) => merged[array]?.[last] === (list[axis] ?? 0) * size);
    if (joins) sizes[last] = (sizes[last] ?? 1) * size;
    else sizes.push(size);
    for (const [array, list] of strides.entries()) {
      const target = merged[array];
      if (target) target[sizes.length - 1] = list[axis] ?? 0;
    }
  }
  if (sizes.length > 0) return { sizes, strides: merged };
  return { sizes: [1], strides: strides.map(() => [1]) };
}

/** Strides with which an array of shape `from` is read along `to`; 0 where it is repeated. */
export function broadcastStrides(from: Shape, to: Shape): number[] {
  const own = stridesOf(from);
  const offset = to.length - from.length;
  return to.map((_, axis) =>
    axis < offset || from[axis - offset] === 1 ? 0 : (own[axis - offset] ?? 0),
  );
}

/** Axes before the last that a routine walks; more are walked by the host. */
const OUTER_AXES = 3;

type CountName = "length" | "piece" | "pieces" | "rows" | "rowsPerTask" | "size1" | "size2";

/** Parameters of a routine that walks arrays of these names row by row. */
export type WalkParameters<N extends string> = Readonly<
  Record<CountName | N | `${N}0` | `${N}1` | `${N}2`, typeof I32>
>;

type WalkArguments<N extends string> = Readonly<
  Record<CountName | N | `${N}0` | `${N}1` | `${N}2`, I32>
>;

/** {@link WalkParameters}. */
export function walkParameters<N extends string>(names: readonly N[]): WalkParameters<N> {
  const keys = names.flatMap((name) => [name, `${name}0`, `${name}1`, `${name}2`]);
  const counts = ["length", "piece", "pieces", "rows", "rowsPerTask", "size1", "size2"];
  return Object.fromEntries([...counts, ...keys].map((key) => [key, I32])) as WalkParameters<N>;
}

/** A row of a walk, as the routine sees it. All are locals. */
export interface WalkedRow<N extends string> {
  /** Where each array's row begins. */
  readonly at: Readonly<Record<N, I32>>;
  /** The part of the row that belongs to the task: its first step, and where it ends. */
  readonly from: I32;
  readonly to: I32;
  /** Place on the axis before the last. */
  readonly index: I32;
}

/** Visits the rows of one task, or a piece of one row. */
export function eachRow<N extends string>(
  body: Body,
  args: WalkArguments<N>,
  names: readonly N[],
  task: I32,
  visit: (row: WalkedRow<N>) => void,
): void {
  const { length, piece, pieces, rows, rowsPerTask, size1, size2 } = args;
  const part = body.let(task.divU(pieces));
  const from = body.let(task.sub(part.mul(pieces)).mul(piece));
  const to = body.let(from.add(piece));
  body.set(to, to.minU(length));
  const first = body.let(part.mul(rowsPerTask));
  const end = body.let(first.add(rowsPerTask));
  body.set(end, end.minU(rows));
  const upper = body.let(first.divU(size2));
  const index = body.let(first.sub(upper.mul(size2)));
  const outer = body.let(upper.divU(size1));
  const middle = body.let(upper.sub(outer.mul(size1)));
  const at = {} as Record<N, I32>;
  const steps = names.map((name) => {
    const [far, mid, near] = [args[`${name}0`], args[`${name}1`], args[`${name}2`]];
    at[name] = body.let(args[name].add(outer.mul(far)).add(middle.mul(mid)).add(index.mul(near)));
    return {
      local: at[name],
      near,
      wrap2: body.let(mid.sub(size2.mul(near))),
      wrap1: body.let(far.sub(size1.mul(mid))),
    };
  });
  body.for(first, end, 1, () => {
    visit({ at, from, to, index });
    body.increment(index, 1);
    for (const { local, near } of steps) body.increment(local, near);
    body.if(index.eq(size2), () => {
      body.set(index, I32.const(0));
      body.increment(middle, 1);
      for (const { local, wrap2 } of steps) body.increment(local, wrap2);
      body.if(middle.eq(size1), () => {
        body.set(middle, I32.const(0));
        for (const { local, wrap1 } of steps) body.increment(local, wrap1);
      });
    });
  });
}

/** An array of a walk: where it begins, and its strides in bytes along the sizes. */
export interface Walked {
  readonly address: number;
  readonly strides: readonly number[];
}

/** How a walk is cut into tasks. */
export interface WalkCut {
  /** Steps of the last axis in one task, at least; {@link FLAT_GRAIN} unless given. */
  readonly grain?: number | undefined;
}

/**
 * Walks a shape: the last axis inside the routine, the others from row to row. A grid may have any
 * number of axes, none of size 0 is visited, and no task shares a row with another unless it is long.
 */
export function launchWalk<N extends string, P extends Parameters>(
  call: KernelCall,
  routine: Routine<P>,
  sizes: readonly number[],
  arrays: Readonly<Record<N, Walked>>,
  others: Readonly<Record<string, number>>,
  { grain = FLAT_GRAIN }: WalkCut = {},
): void {
  if (sizes.includes(0)) return;
  if (sizes.length > OUTER_AXES + 1) {
    const [first = 1, ...inner] = sizes;
    for (let place = 0; place < first; place++) {
      launchWalk(call, routine, inner, innerArrays(arrays, place), others, { grain });
    }
    return;
  }
  const end = sizes.length - 1;
  const length = sizes[end] ?? 1;
  const [size2, size1, size0] = [sizes[end - 1] ?? 1, sizes[end - 2] ?? 1, sizes[end - 3] ?? 1];
  const rows = size0 * size1 * size2;
  const piece = Math.min(length, grain);
  const pieces = Math.ceil(length / piece);
  const rowsPerTask = pieces > 1 ? 1 : Math.max(1, Math.floor(grain / length));
  const counts = { length, piece, pieces, rows, rowsPerTask, size1, size2 };
  const args = Object.assign(arrayArguments(arrays), counts, others);
  call.launch(routine, args as LaunchArguments<P>, pieces * Math.ceil(rows / rowsPerTask));
}

/** The arrays at a place of the first axis. */
function innerArrays<N extends string>(
  arrays: Readonly<Record<N, Walked>>,
  place: number,
): Record<N, Walked> {
  const inner: Record<string, Walked> = {};
  for (const name in arrays) {
    const { address, strides } = arrays[name];
    inner[name] = { address: address + place * (strides[0] ?? 0), strides: strides.slice(1) };
  }
  return inner;
}

/** Addresses and strides of the arrays, by the names of the parameters. */
function arrayArguments(
  arrays: Readonly<Record<string, Walked>>,
): Record<string, number | undefined> {
  const { to, from, a, b, c, ...rest } = arrays;
  // The usual names are written out: putting them together takes longer than a small launch.
  const args: Record<string, number | undefined> = {
    to: to?.address,
    to0: strideOf(to, 0),
    to1: strideOf(to, 1),
    to2: strideOf(to, 2),
    from: from?.address,
    from0: strideOf(from, 0),
    from1: strideOf(from, 1),
    from2: strideOf(from, 2),
    a: a?.address,
    a0: strideOf(a, 0),
    a1: strideOf(a, 1),
    a2: strideOf(a, 2),
    b: b?.address,
    b0: strideOf(b, 0),
    b1: strideOf(b, 1),
    b2: strideOf(b, 2),
    c: c?.address,
    c0: strideOf(c, 0),
    c1: strideOf(c, 1),
    c2: strideOf(c, 2),
  };
  for (const name in rest) {
    args[name] = rest[name]?.address;
    for (let axis = 0; axis < OUTER_AXES; axis++) args[name + axis] = strideOf(rest[name], axis);
  }
  return args;
}

/** The stride along one of the outer axes; 0 where there are fewer. */
function strideOf(array: Walked | undefined, axis: number): number {
  if (array === undefined) return 0;
  return array.strides[axis + array.strides.length - (OUTER_AXES + 1)] ?? 0;
}
