import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { I32x4 } from "../../emit/vectors.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import {
  ABREAST,
  VECTOR_BYTES,
  type Words,
  acrossLanes,
  eachStrip,
  padLanes,
  storeLanes,
  wordAt,
} from "./lanes.ts";
import { type Reducer, eachReducer } from "./reducers.ts";

/** Parameters of {@link reduceRows}: items are (row, chunk), `perTask` of them a task. */
export type RowParameters = {
  readonly [
    K in "from" | "to" | "length" | "chunk" | "chunks" | "items" | "perTask" | "flip"
  ]: typeof I32;
};

/** Parameters of {@link reduceColumns}: items are (outer, chunk, block of columns). */
export type ColumnParameters = RowParameters & {
  readonly [K in "inner" | "width" | "blocks"]: typeof I32;
};

const ROWS: RowParameters = {
  from: I32,
  to: I32,
  length: I32,
  chunk: I32,
  chunks: I32,
  items: I32,
  perTask: I32,
  flip: I32,
};

/** Rows of columns that are read together before a total goes back to memory. */
const TILE = 8;

/** Each row, or each chunk of one, to one element. */
export const reduceRows: readonly Routine<RowParameters>[] = /*#__PURE__*/ eachReducer(rowRoutine);

/** The middle axis of three, or each chunk of it, to one element for each column. */
export const reduceColumns: readonly Routine<ColumnParameters>[] =
  /*#__PURE__*/ eachReducer(columnRoutine);

function rowRoutine<V extends Words>(reducer: Reducer<V>): Routine<RowParameters> {
  return defineRoutine(`${reducer.name}OfRows`, ROWS, (body, args, task) => {
    eachItem(body, args, task, (item) => {
      const row = body.let(item.divU(args.chunks));
      const first = body.let(item.sub(row.mul(args.chunks)).mul(args.chunk));
      const count = body.let(args.length.sub(first));
      body.set(count, count.minU(args.chunk));
      const from = body.let(wordAt(args.from, row.mul(args.length).add(first)));
      const total = rowTotal(body, reducer, from, count, args.flip);
      const given = reducer.give(body, total, args.flip).as(I32x4);
      body.store(wordAt(args.to, item), given.lane(0));
    });
  });
}

function eachItem(
  body: Body,
  { items, perTask }: { readonly items: I32; readonly perTask: I32 },
  task: I32,
  visit: (item: I32) => void,
): void {
  const first = body.let(task.mul(perTask));
  const last = body.let(first.add(perTask));
  body.set(last, last.minU(items));
  body.for(first, last, 1, visit);
}

/** All elements of a row; the order depends on its length alone. */
function rowTotal<V extends Words>(
  body: Body,
  reducer: Reducer<V>,
  from: I32,
  count: I32,
  flip: I32,
): V {
  const { kind, join, take } = reducer;
  const totals = Array.from({ length: ABREAST }, () => body.let(reducer.start()));
  const [total] = totals as [V];
  const at = body.let(from);
  const left = body.let(count);
  body.while(
    () => left.geU(4 * ABREAST),
    () => {
      for (const [index, part] of totals.entries()) {
        body.set(part, join(part, take(body, at.add(VECTOR_BYTES * index), flip)));
      }
      body.increment(at, VECTOR_BYTES * ABREAST);
      body.increment(left, -4 * ABREAST);
    },
  );
  body.while(
    () => left.ne(0),
    () => {
      const vector = body.let(take(body, at, flip));
      padLanes(body, vector, left, reducer.start(), kind);
      body.set(total, join(total, vector));
      body.increment(at, VECTOR_BYTES);
      body.set(left, left.sub(4).select(left.gtU(4), 0));
    },
  );
  for (let step = 1; step < ABREAST; step *= 2) {
    for (let index = 0; index + step < ABREAST; index += 2 * step) {
      const [a, b] = [totals[index], totals[index + step]] as [V, V];
      body.set(a, join(a, b));
    }
  }
  return acrossLanes(body, total, kind, join);
}

function columnRoutine<V extends Words>(reducer: Reducer<V>): Routine<ColumnParameters> {
  const parameters = { ...ROWS, inner: I32, width: I32, blocks: I32 };
  return defineRoutine(`${reducer.name}OfColumns`, parameters, (body, args, task) => {
    const rowBytes = body.let(args.inner.shl(2));
    eachItem(body, args, task, (item) => {
      const part = body.let(item.divU(args.blocks));
      const column = body.let(item.sub(part.mul(args.blocks)).mul(args.width));
      const columns = body.let(args.inner.sub(column));
      body.set(columns, columns.minU(args.width));
      const outer = body.let(part.divU(args.chunks));
      const first = body.let(part.sub(outer.mul(args.chunks)).mul(args.chunk));
      const rows = body.let(args.length.sub(first));
      body.set(rows, rows.minU(args.chunk));
      const row = outer.mul(args.length).add(first);
      const from = body.let(wordAt(args.from, row.mul(args.inner).add(column)));
      const to = body.let(wordAt(args.to, part.mul(args.inner).add(column)));
      body.for(0, rows, TILE, (done) => {
        const tile = body.let(rows.sub(done));
        body.set(tile, tile.minU(I32.const(TILE)));
        const begin = body.let(from.add(done.mul(rowBytes)));
        eachStrip(body, columns, (index, vectors) => {
          const strip = { from: begin.add(index.shl(2)), to: to.add(index.shl(2)), vectors };
          joinStrip(
            body,
            reducer,
            { ...strip, rows: tile, rowBytes, isFirst: done.not() },
            {
              flip: args.flip,
              columns: columns.sub(index),
            },
          );
        });
      });
    });
  });
}

interface Strip {
  readonly from: I32;
  readonly to: I32;
  readonly vectors: number;
  readonly rows: I32;
  readonly rowBytes: I32;
  /** 1 where nothing is in `to` yet. */
  readonly isFirst: I32;
}

/** Joins some rows of a strip of columns to what is in `to`, row after row. */
function joinStrip<V extends Words>(
  body: Body,
  reducer: Reducer<V>,
  strip: Strip,
  { flip, columns }: { readonly flip: I32; readonly columns: I32 },
): void {
  const { join, take } = reducer;
  const to = body.let(strip.to);
  const totals = Array.from({ length: strip.vectors }, () => body.let(reducer.start()));
  body.if(strip.isFirst.not(), () => {
    for (const [index, total] of totals.entries()) {
      body.set(total, take(body, to.add(VECTOR_BYTES * index), flip));
    }
  });
  const at = body.let(strip.from);
  const left = body.let(strip.rows);
  body.repeat(() => {
    for (const [index, total] of totals.entries()) {
      body.set(total, join(total, take(body, at.add(VECTOR_BYTES * index), flip)));
    }
    body.increment(at, strip.rowBytes);
    body.increment(left, -1);
    return left;
  });
  for (const [index, total] of totals.entries()) {
    const words = body.let(reducer.give(body, total, flip));
    const place = to.add(VECTOR_BYTES * index);
    if (strip.vectors > 1) body.store(place, words);
    else storeLanes(body, place, words, columns);
  }
}
