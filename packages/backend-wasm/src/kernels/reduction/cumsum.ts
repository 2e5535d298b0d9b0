import { type CumsumAttributes, sizeOf } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";
import type { Kernel } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { VECTOR_BYTES, type Words, eachStrip, storeLanes, wordAt } from "./lanes.ts";

/** Elements of one task. */
const GRAIN = 16_384;
/** Columns of one task are a multiple of this, beside the last ones. */
const COLUMN_STEP = 16;
const NARROWEST = 512;
/** Rows of columns that are walked before the next columns are. */
const TILE = 8;

type CumsumParameters = {
  readonly [
    K in
      | "from"
      | "to"
      | "size"
      | "inner"
      | "blocks"
      | "width"
      | "items"
      | "perTask"
      | "tile"
      | "exclusive"
      | "reverse"
  ]: typeof I32;
};

const PARAMETERS: CumsumParameters = {
  from: I32,
  to: I32,
  size: I32,
  inner: I32,
  blocks: I32,
  width: I32,
  items: I32,
  perTask: I32,
  tile: I32,
  exclusive: I32,
  reverse: I32,
};

const sumsOfFloats = /*#__PURE__*/ cumsumRoutine<F32x4>("cumsumFloats", {
  zero: () => F32x4.const(0),
  load: (address) => F32x4.load(address),
  add: (a, b) => a.add(b),
});
const sumsOfIntegers = /*#__PURE__*/ cumsumRoutine<I32x4>("cumsumIntegers", {
  zero: () => I32x4.const(0),
  load: (address) => I32x4.load(address),
  add: (a, b) => a.add(b),
});

/** Routines of this kernel. */
export const cumsumRoutines: readonly Routine[] = [sumsOfFloats, sumsOfIntegers];

/** Running sums along an axis, each in the order of its terms. */
export const cumsum: Kernel = (call) => {
  const { axis, exclusive = false, reverse = false } = call.attributes<CumsumAttributes>();
  const x = call.input(0);
  // A sum without its own term is carried on from the term too, which must then still be there.
  const output = exclusive ? call.make(0) : call.reuse(0);
  if (x.size === 0) return [output];
  const size = x.shape[axis] ?? 1;
  const outer = sizeOf(x.shape.slice(0, axis));
  const inner = sizeOf(x.shape.slice(axis + 1));
  const width = Math.max(NARROWEST, Math.floor(GRAIN / size / COLUMN_STEP) * COLUMN_STEP);
  const blocks = Math.ceil(inner / width);
  const items = outer * blocks;
  const perTask = Math.max(1, Math.floor(GRAIN / (size * Math.min(width, inner))));
  const args = {
    from: x.address,
    to: output.address,
    size,
    inner,
    blocks,
    width,
    items,
    perTask,
    tile: inner < COLUMN_STEP ? size : TILE,
    exclusive: Number(exclusive),
    reverse: Number(reverse),
  };
  const routine = x.dtype === "f32" ? sumsOfFloats : sumsOfIntegers;
  call.launch(routine, args, Math.ceil(items / perTask));
  return [output];
};

/** What is added: vectors of four. */
interface Adder<V extends Words> {
  zero(): V;
  load(address: I32): V;
  add(a: V, b: V): V;
}

/** An item is a block of columns. */
function cumsumRoutine<V extends Words>(name: string, adder: Adder<V>): Routine<CumsumParameters> {
  return defineRoutine(name, PARAMETERS, (body, args, task) => {
    const first = body.let(task.mul(args.perTask));
    const last = body.let(first.add(args.perTask));
    body.set(last, last.minU(args.items));
    const step = body.let(args.inner.shl(2));
    const start = body.int(0);
    body.if(args.reverse, () => {
      body.set(start, args.size.sub(1).mul(step));
      body.set(step, I32.const(0).sub(step));
    });
    body.for(first, last, 1, (item) => {
      const outer = body.let(item.divU(args.blocks));
      const column = body.let(item.sub(outer.mul(args.blocks)).mul(args.width));
      const columns = body.let(args.inner.sub(column));
      body.set(columns, columns.minU(args.width));
      const place = outer.mul(args.size).mul(args.inner).add(column);
      const offset = body.let(place.shl(2).add(start));
      body.for(0, args.size, args.tile, (done) => {
        const rows = body.let(args.size.sub(done));
        body.set(rows, rows.minU(args.tile));
        const begin = body.let(offset.add(done.mul(step)));
        eachStrip(body, columns, (index, vectors) => {
          const from = body.let(wordAt(args.from.add(begin), index));
          const to = body.let(wordAt(args.to.add(begin), index));
          runningSums(body, adder, {
            from,
            to,
            rows,
            step,
            isFirst: done.not(),
            exclusive: args.exclusive,
            columns: columns.sub(index),
            vectors,
          });
        });
      });
    });
  });
}

interface Walk {
  readonly from: I32;
  readonly to: I32;
  /** Rows to be walked, each `step` bytes behind the one before. */
  readonly rows: I32;
  readonly step: I32;
  /** 1 where no row lies before. */
  readonly isFirst: I32;
  readonly exclusive: I32;
  readonly columns: I32;
  readonly vectors: number;
}

/** Walks a strip of columns from row to row. */
function runningSums<V extends Words>(body: Body, { zero, load, add }: Adder<V>, walk: Walk): void {
  const { from, to, step, columns, vectors } = walk;
  const totals = Array.from({ length: vectors }, () => body.let(zero()));
  body.if(walk.isFirst.not(), () => {
    for (const [index, total] of totals.entries()) {
      const place = VECTOR_BYTES * index;
      body.set(total, load(to.sub(step).add(place)));
      body.if(walk.exclusive, () => {
        body.set(total, add(total, load(from.sub(step).add(place))));
      });
    }
  });
  const left = body.let(walk.rows);
  const put = (index: number, total: V): void => {
    const place = to.add(VECTOR_BYTES * index);
    if (vectors > 1) body.store(place, total);
    else storeLanes(body, place, total, columns);
  };
  body.repeat(() => {
    for (const [index, total] of totals.entries()) {
      const value = body.let(load(from.add(VECTOR_BYTES * index)));
      body.if(walk.exclusive, () => put(index, total));
      body.set(total, add(total, value));
      body.if(walk.exclusive.not(), () => put(index, total));
    }
    body.increment(from, step);
    body.increment(to, step);
    body.increment(left, -1);
    return left;
  });
}
