import { sizeOf } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import type { Kernel } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { VECTOR, storeFirstOf } from "../vector-loop.ts";

/** Columns that are summed at once. */
const STRIP = 16;
/** Elements that one task reads, on average. */
const GRAIN = 32_768;

const segmentSumRoutine = /*#__PURE__*/ defineRoutine(
  "segmentSum",
  {
    to: I32,
    rows: I32,
    ids: I32,
    rowCount: I32,
    segments: I32,
    segmentsPerTask: I32,
    width: I32,
    columnsPerTask: I32,
    parts: I32,
  },
  (body, args, task) => {
    const { to, rows, ids, rowCount, segments, segmentsPerTask, width, columnsPerTask } = args;
    const block = body.let(task.divU(args.parts));
    const firstColumn = body.let(task.sub(block.mul(args.parts)).mul(columnsPerTask));
    const endColumn = body.let(firstColumn.add(columnsPerTask));
    body.set(endColumn, endColumn.minU(width));
    const first = body.let(block.mul(segmentsPerTask));
    const last = body.let(first.add(segmentsPerTask));
    body.set(last, last.minU(segments));
    const begin = firstNotBelow(body, ids, rowCount, first);
    const end = body.let(begin);
    const pitch = body.let(width.shl(2));
    body.for(first, last, 1, (segment) => {
      body.while(
        // Past the last row a word is read that says nothing.
        () => end.ltU(rowCount).and(I32.load(ids.add(end.shl(2))).eq(segment)),
        () => body.increment(end, 1),
      );
      const range = { from: rows.add(begin.mul(pitch)), count: body.let(end.sub(begin)), pitch };
      body.for(firstColumn, endColumn, STRIP, (column) => {
        const target = body.let(to.add(segment.mul(pitch)).add(column.shl(2)));
        const sums = sumStrip(body, { ...range, from: range.from.add(column.shl(2)) });
        storeFirstOf(body, target, sums, body.let(endColumn.sub(column)));
      });
      body.set(begin, end);
    });
  },
);

/** The first place among ascending ids whose id is not below another. */
function firstNotBelow(body: Body, ids: I32, count: I32, id: I32): I32 {
  const low = body.int(0);
  const high = body.let(count);
  body.while(
    () => low.ltU(high),
    () => {
      const middle = body.let(low.add(high).shrU(1));
      body.if(
        I32.load(ids.add(middle.shl(2))).lt(id),
        () => body.set(low, middle.add(1)),
        () => body.set(high, middle),
      );
    },
  );
  return low;
}

/** The sums of {@link STRIP} columns over rows, in order; columns beyond the width sum what is there. */
function sumStrip(
  body: Body,
  { from, count, pitch }: { readonly from: I32; readonly count: I32; readonly pitch: I32 },
): F32x4[] {
  const sums = Array.from({ length: STRIP / 4 }, () => body.let(F32x4.const(0)));
  const row = body.let(from);
  body.for(0, count, 1, () => {
    for (const [index, sum] of sums.entries()) {
      body.set(sum, sum.add(F32x4.load(row, index * VECTOR)));
    }
    body.increment(row, pitch);
  });
  return sums;
}

/** Rows added up by ascending id, in row order; ids outside the segments are left out. */
export const segmentSum: Kernel = (call) => {
  const rows = call.input(0);
  const ids = call.input(1);
  const output = call.make(0);
  const [segments = 0] = call.spec(0).shape;
  const width = sizeOf(rows.shape.slice(1));
  if (segments === 0 || width === 0) return [output];
  // What a segment costs where rows are spread evenly; its share of the columns where that is much.
  const height = ids.size / segments + 1;
  const segmentsPerTask = Math.max(1, Math.floor(GRAIN / (height * width)));
  const strips = Math.max(1, Math.floor(GRAIN / (height * STRIP)));
  const columnsPerTask = segmentsPerTask > 1 ? width : Math.min(width, strips * STRIP);
  const parts = Math.ceil(width / columnsPerTask);
  const args = {
    to: output.address,
    rows: rows.address,
    ids: ids.address,
    rowCount: ids.size,
    segments,
    segmentsPerTask,
    width,
    columnsPerTask,
    parts,
  };
  call.launch(segmentSumRoutine, args, parts * Math.ceil(segments / segmentsPerTask));
  return [output];
};

/** The routine of this kernel. */
export const segmentSumRoutines: readonly Routine[] = [segmentSumRoutine];
