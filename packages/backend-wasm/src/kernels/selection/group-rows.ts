import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import type { Kernel, KernelCall } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { wordAt } from "../reduction/lanes.ts";

/** Assignments of one task at least, and counters of one task at least. */
const CHUNK = 8192;

/** The table has a row for each chunk of assignments: how many each group has there. */
const TABLE = { ids: I32, table: I32, count: I32, groups: I32, chunk: I32 } as const;

interface Chunk {
  readonly first: I32;
  readonly last: I32;
  /** The chunk's row of the table. */
  readonly counters: I32;
}

function chunkOf(
  body: Body,
  { table, count, groups, chunk }: Readonly<Record<"table" | "count" | "groups" | "chunk", I32>>,
  task: I32,
): Chunk {
  const first = body.let(task.mul(chunk));
  const last = body.let(first.add(chunk));
  body.set(last, last.minU(count));
  return { first, last, counters: body.let(wordAt(table, task.mul(groups))) };
}

const countGroups = /*#__PURE__*/ defineRoutine("countGroups", TABLE, (body, args, task) => {
  const { first, last, counters } = chunkOf(body, args, task);
  body.fillBytes(counters, 0, args.groups.shl(2));
  body.for(first, last, 1, (assignment) => {
    const id = body.let(I32.load(wordAt(args.ids, assignment)));
    body.if(id.ltU(args.groups), () => {
      const counter = body.let(wordAt(counters, id));
      body.store(counter, I32.load(counter).add(1));
    });
  });
});

/** Turns counts into the row where each chunk's share of each group begins. */
const placeGroups = /*#__PURE__*/ defineRoutine(
  "placeGroups",
  { table: I32, groups: I32, chunks: I32, offsets: I32 },
  (body, { table, groups, chunks, offsets }) => {
    const row = body.int(0);
    const stride = body.let(groups.shl(2));
    body.for(0, groups, 1, (group) => {
      body.store(wordAt(offsets, group), row);
      const counter = body.let(wordAt(table, group));
      body.for(0, chunks, 1, () => {
        const own = body.let(I32.load(counter));
        body.store(counter, row);
        body.increment(row, own);
        body.increment(counter, stride);
      });
    });
    body.store(wordAt(offsets, groups), row);
  },
);

const fillGroups = /*#__PURE__*/ defineRoutine(
  "fillGroups",
  { ...TABLE, offsets: I32, order: I32, inverse: I32, group: I32 },
  (body, args, task) => {
    const { count, groups } = args;
    const { first, last, counters } = chunkOf(body, args, task);
    body.for(first, last, 1, (assignment) => {
      const id = body.let(I32.load(wordAt(args.ids, assignment)));
      const row = body.let(count);
      body.if(id.ltU(groups), () => {
        const counter = body.let(wordAt(counters, id));
        body.set(row, I32.load(counter));
        body.store(counter, row.add(1));
        body.store(wordAt(args.order, row), assignment);
        body.store(wordAt(args.group, row), id);
      });
      body.store(wordAt(args.inverse, assignment), row);
    });
    // Behind the groups there are as many rows as assignments without a group.
    const dead = body.let(I32.load(wordAt(args.offsets, groups)));
    body.set(dead, dead.select(dead.gtU(first), first));
    body.for(dead, last, 1, (row) => {
      body.store(wordAt(args.order, row), count);
      body.store(wordAt(args.group, row), groups);
    });
  },
);

/** Where the outputs of `groupRows` go. */
export interface GroupedRows {
  readonly order: number;
  readonly inverse: number;
  readonly offsets: number;
  readonly group: number;
}

/** Stable counting sort of `count` assignments by their id, an i32. */
function groupAssignments(
  call: KernelCall,
  ids: number,
  count: number,
  groups: number,
  targets: GroupedRows,
): void {
  // No more counters than assignments, beside those of one chunk.
  const chunk = Math.max(CHUNK, groups);
  const chunks = Math.max(1, Math.ceil(count / chunk));
  const table = call.temporary(4 * chunks * groups);
  const { offsets } = targets;
  const args = { ids, table, count, groups, chunk };
  call.launch(countGroups, args, chunks);
  call.launch(placeGroups, { table, groups, chunks, offsets });
  call.launch(fillGroups, { ...args, ...targets }, chunks);
}

/** `groupRows`. */
export const groupRows: Kernel = (call) => {
  const { groups } = call.attributes<{ groups: number }>();
  const ids = call.input(0);
  const outputs = [call.make(0), call.make(1), call.make(2), call.make(3)] as const;
  const [order, inverse, offsets, group] = outputs;
  groupAssignments(call, ids.address, ids.size, groups, {
    order: order.address,
    inverse: inverse.address,
    offsets: offsets.address,
    group: group.address,
  });
  return outputs;
};

/** Routines of this kernel. */
export const groupRoutines: readonly Routine[] = [countGroups, placeGroups, fillGroups];
