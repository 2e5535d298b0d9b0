import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";
import type { Kernel } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { NO_KEY, keysOf } from "../reduction/keys.ts";
import { paddedBytes, wordAt } from "../reduction/lanes.ts";
import { pickBest } from "./best.ts";
import { sortRows } from "./sort.ts";

/** Up to so many are picked from any row; up to more, from a row that has many times as many. */
const PICKED = 32;
const PICKED_FROM_MANY = 256;
const MANY = 16;
/** Elements of one task, a list's place counting like several. */
const GRAIN = 8192;
const PLACE_COST = 16;
/** Tasks of one launch, each of which has its own room for keys. */
const MOST_TASKS = 256;

const topKRows = /*#__PURE__*/ defineRoutine(
  "topKRows",
  {
    from: I32,
    mask: I32,
    values: I32,
    indices: I32,
    width: I32,
    k: I32,
    rows: I32,
    perTask: I32,
    room: I32,
    roomBytes: I32,
  },
  (body, args, task) => {
    const { width, k } = args;
    const keys = body.let(args.room.add(task.mul(args.roomBytes)));
    const first = body.let(task.mul(args.perTask));
    const last = body.let(first.add(args.perTask));
    body.set(last, last.minU(args.rows));
    body.for(first, last, 1, (row) => {
      const start = body.let(row.mul(width).shl(2));
      const from = body.let(args.from.add(start));
      const mask = body.let(args.mask.add(start));
      const values = body.let(wordAt(args.values, row.mul(k)));
      const indices = body.let(wordAt(args.indices, row.mul(k)));
      body.for(0, width, 4, (index) => {
        body.store(wordAt(keys, index), keysOf(body, F32x4.load(wordAt(from, index))));
      });
      body.if(args.mask, () => hideKeys(body, mask, keys, width));
      pickBest(body, { from: keys, count: width, keys: values, indices, k });
      body.if(args.mask, () => takeHidden(body, mask, indices, { width, k }));
      body.for(0, k, 1, (place) => {
        const chosen = I32.load(wordAt(indices, place));
        body.store(wordAt(values, place), I32.load(wordAt(from, chosen)));
      });
    });
  },
);

/** Takes the keys from a row where a mask is false. */
export function hideKeys(body: Body, mask: I32, keys: I32, width: I32): void {
  body.for(0, width, 4, (index) => {
    const shown = I32x4.load(wordAt(mask, index)).ne(I32x4.const(0));
    const place = wordAt(keys, index);
    body.store(place, shown.chooseInt(I32x4.load(place), I32x4.const(NO_KEY)));
  });
}

/** Fills the places that are left, at the end, with the hidden elements in their order. */
function takeHidden(
  body: Body,
  mask: I32,
  indices: I32,
  { width, k }: { readonly width: I32; readonly k: I32 },
): void {
  const place = body.int(0);
  body.while(
    () => place.ltU(k).and(I32.load(wordAt(indices, place)).ge(0)),
    () => body.increment(place, 1),
  );
  const index = body.int(0);
  body.while(
    () => place.ltU(k).and(index.ltU(width)),
    () => {
      body.if(I32.load(wordAt(mask, index)).not(), () => {
        body.store(wordAt(indices, place), index);
        body.increment(place, 1);
      });
      body.increment(index, 1);
    },
  );
}

/** `topK`. */
export const topK: Kernel = (call) => {
  const { k } = call.attributes<{ k: number }>();
  const scores = call.input(0);
  const mask = call.optional(1)?.address ?? 0;
  const width = scores.shape.at(-1) ?? 0;
  const [values, indices] = [call.make(0), call.make(1)];
  const rows = k === 0 ? 0 : call.outputSize(0) / k;
  if (rows === 0) return [values, indices];
  const source = { from: scores.address, mask, dtype: scores.dtype, width, rows };
  const isPicked = k <= PICKED || (k <= PICKED_FROM_MANY && MANY * k <= width);
  if (!isPicked) {
    const targets = { order: indices.address, kept: k, values: values.address };
    sortRows(call, source, { ...targets, descending: true });
    return [values, indices];
  }
  const cost = Math.max(1, Math.floor(GRAIN / (width + PLACE_COST * k)));
  const perTask = Math.max(cost, Math.ceil(rows / MOST_TASKS));
  const tasks = Math.ceil(rows / perTask);
  const roomBytes = paddedBytes(width);
  const room = call.temporary(tasks * roomBytes);
  const targets = { values: values.address, indices: indices.address };
  const cut = { perTask, room, roomBytes };
  const { from } = source;
  call.launch(topKRows, { from, mask, width, rows, k, ...targets, ...cut }, tasks);
  return [values, indices];
};

/** Routines of this kernel. */
export const topKRoutines: readonly Routine[] = [topKRows];
