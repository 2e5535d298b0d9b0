import { type ReduceAttributes, type Shape, sizeOf } from "@moiety/core";
import type { Kernel, KernelCall } from "../../kernel.ts";
import type { Routine } from "../../routine.ts";
import { reduceColumns, reduceRows } from "./reduce-routines.ts";
import { flipOf, reducerOf } from "./reducers.ts";

/** Elements of a row that are taken as one; more are taken in chunks, and the chunks then. */
const ROW_CHUNK = 16_384;
/** The same of columns. */
const COLUMN_CHUNK = 256;
/** Elements of one task. */
const GRAIN = 32_768;
/** Columns of one task are a multiple of this, beside the last ones. */
const COLUMN_STEP = 16;
const NARROWEST = 1024;
/** What an item costs beside its elements, in elements. */
const ITEM_COST = 32;

/** What is reduced: the middle one of three axes. */
interface Columns {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

/** Which routine, and how it sees elements. */
interface Method {
  readonly reducer: 0 | 1 | 2 | 3;
  readonly flip: number;
}

/**
 * Reduces axes: runs of neighbours one after another, the last run first. The order of a sum follows
 * from the number of its terms, and from whether they are neighbours in memory.
 */
export const reduce: Kernel = (call) => {
  const { kind, axes } = call.attributes<ReduceAttributes>();
  const x = call.input(0);
  const output = call.make(0);
  const outputs = call.outputSize(0);
  const method = { reducer: reducerOf(kind, x.dtype), flip: flipOf(kind, x.dtype) };
  if (outputs === 0) return [output];
  if (x.size === 0) {
    reduceAxis(call, method, x.address, output.address, { outer: outputs, length: 0, inner: 1 });
    return [output];
  }
  const runs = runsOf(x.shape, axes);
  let from = x.address;
  for (;;) {
    const last = runs.findLastIndex(({ isReduced }) => isReduced);
    const sizes = runs.map(({ size }) => size);
    const columns = {
      outer: sizeOf(sizes.slice(0, Math.max(last, 0))),
      length: last < 0 ? 1 : (sizes[last] ?? 1),
      inner: sizeOf(sizes.slice(last + 1)),
    };
    if (last >= 0) runs.splice(last, 1);
    const isDone = !runs.some(({ isReduced }) => isReduced);
    const to = isDone ? output.address : call.temporary(4 * columns.outer * columns.inner);
    reduceAxis(call, method, from, to, columns);
    if (isDone) return [output];
    from = to;
  }
};

interface Run {
  readonly isReduced: boolean;
  readonly size: number;
}

/** A shape as runs of axes that are all reduced or all kept; axes of size 1 are left out. */
function runsOf(shape: Shape, axes: readonly number[]): Run[] {
  const runs: Run[] = [];
  for (const [axis, size] of shape.entries()) {
    if (size === 1) continue;
    const isReduced = axes.includes(axis);
    const before = runs.at(-1);
    if (before?.isReduced !== isReduced) runs.push({ isReduced, size });
    else runs[runs.length - 1] = { isReduced, size: before.size * size };
  }
  return runs;
}

/** Reduces the middle axis, in chunks where it is long. */
function reduceAxis(
  call: KernelCall,
  method: Method,
  from: number,
  to: number,
  { outer, length, inner }: Columns,
): void {
  const chunk = inner === 1 ? ROW_CHUNK : COLUMN_CHUNK;
  const chunks = Math.max(1, Math.ceil(length / chunk));
  const target = chunks === 1 ? to : call.temporary(4 * outer * chunks * inner);
  const each = Math.min(length, chunk);
  const args = { from, to: target, length, chunk, chunks, flip: method.flip };
  if (inner === 1) {
    const items = itemsOf(outer * chunks, each);
    call.launch(routineAt(reduceRows, method), { ...args, ...items }, items.tasks);
  } else {
    const width = Math.max(NARROWEST, Math.floor(GRAIN / each / COLUMN_STEP) * COLUMN_STEP);
    const blocks = Math.ceil(inner / width);
    const items = itemsOf(outer * chunks * blocks, each * Math.min(width, inner));
    const routine = routineAt(reduceColumns, method);
    call.launch(routine, { ...args, ...items, inner, width, blocks }, items.tasks);
  }
  if (chunks > 1) reduceAxis(call, method, target, to, { outer, length: chunks, inner });
}

interface Items {
  readonly items: number;
  readonly perTask: number;
  readonly tasks: number;
}

/** So many items of `each` elements, cut into tasks. */
function itemsOf(items: number, each: number): Items {
  const perTask = Math.max(1, Math.floor(GRAIN / (each + ITEM_COST)));
  return { items, perTask, tasks: Math.ceil(items / perTask) };
}

function routineAt<R extends Routine>(routines: readonly R[], { reducer }: Method): R {
  const routine = routines[reducer];
  if (routine === undefined) throw new TypeError(`no routine ${reducer}`);
  return routine;
}
