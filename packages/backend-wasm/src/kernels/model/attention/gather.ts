import { I32 } from "../../../emit/scalars.ts";
import { F32x4 } from "../../../emit/vectors.ts";
import type { KernelCall } from "../../../kernel.ts";
import { type Routine, defineRoutine } from "../../../routine.ts";
import { PANEL } from "../../products/tile.ts";
import { storeLanes } from "../../reduction/lanes.ts";
import {
  type AttentionShape,
  PANEL_BLOCK,
  PANEL_ROW,
  columnPanels,
  eachUnit,
  keyRows,
  pairOf,
  unitsPerTask,
} from "./shape.ts";

/** What one number of a row costs, in multiplications and additions. */
const COST = 8;

/**
 * Adds the chunks' sums, in order, for each key of a pair; keys that nobody sees get zeros. A unit is a
 * key.
 */
const gatherSums = /*#__PURE__*/ defineRoutine(
  "attentionGather",
  {
    sums: I32,
    to: I32,
    capacity: I32,
    keyHeads: I32,
    width: I32,
    skipped: I32,
    seen: I32,
    panels: I32,
    chunks: I32,
    chunkBytes: I32,
    units: I32,
    perTask: I32,
  },
  (body, args, task) => {
    const { capacity, keyHeads, width, seen, chunks, chunkBytes } = args;
    const step = body.let(args.panels.mul(PANEL_BLOCK));
    eachUnit(body, task, args, (unit) => {
      const number = body.let(unit.divU(capacity));
      const key = body.let(unit.sub(number.mul(capacity)));
      const first = keyRows(args.to, pairOf(body, number, args), args, width);
      const to = body.let(first.add(key.mul(keyHeads).mul(width).shl(2)));
      const place = body.let(key.sub(args.skipped));
      const from = args.sums.add(number.mul(chunks).mul(chunkBytes)).add(place.mul(PANEL_ROW));
      const source = body.let(from);
      // A skipped key's place is beyond every other one without its sign.
      const counted = body.let(chunks.select(place.ltU(seen), 0));
      const rest = body.let(width);
      body.while(
        () => rest.gt(0),
        () => {
          const sums = [body.let(F32x4.const(0)), body.let(F32x4.const(0))];
          const at = body.let(source);
          body.for(0, counted, 1, () => {
            for (const [half, sum] of sums.entries()) {
              body.set(sum, sum.add(F32x4.load(at, half * 16)));
            }
            body.increment(at, chunkBytes);
          });
          body.if(
            rest.ge(PANEL),
            () => {
              for (const [half, sum] of sums.entries()) body.store(to, sum, half * 16);
            },
            () => {
              for (const [half, sum] of sums.entries()) {
                const left = body.let(rest.sub(half * 4));
                body.if(left.gt(0), () => storeLanes(body, to.add(half * 16), sum, left));
              }
            },
          );
          body.increment(source, step);
          body.increment(to, PANEL_ROW);
          body.increment(rest, -PANEL);
        },
      );
    });
  },
);

/** Puts the gradients of keys or values together. */
export function launchGather(
  call: KernelCall,
  shape: AttentionShape,
  given: {
    readonly sums: number;
    readonly to: number;
    readonly width: number;
    readonly chunks: number;
  },
): void {
  const units = shape.pairs * shape.capacity;
  const perTask = unitsPerTask(given.width * given.chunks * COST);
  const chunkBytes = columnPanels(given.width) * shape.panels * PANEL_BLOCK;
  call.launch(
    gatherSums,
    { ...shape, ...given, chunkBytes, units, perTask },
    Math.ceil(units / perTask),
  );
}

/** The routine that gathers. */
export const gatherRoutines: readonly Routine[] = [gatherSums];
