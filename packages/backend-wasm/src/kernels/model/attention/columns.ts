import type { Body } from "../../../emit/body.ts";
import { I32 } from "../../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../../emit/vectors.ts";
import type { KernelCall, Operand } from "../../../kernel.ts";
import { type Routine, defineRoutine } from "../../../routine.ts";
import { PANEL } from "../../products/tile.ts";
import { lanesBelow, wordAt } from "../../reduction/lanes.ts";
import { PACK_PARAMETERS, packUnits, partsOf } from "./pack.ts";
import {
  type AttentionShape,
  type Pair,
  PANEL_BLOCK,
  PANEL_ROW,
  columnPanels,
  eachUnit,
  firstKeys,
  firstOfMask,
  keyRows,
  pairOf,
} from "./shape.ts";

/**
 * Panels of 8 columns: [panel of columns][key][8 columns], zeros where there is no key or column, or
 * the mask hides the key. A word for each task says whether some number was not finite.
 */
const copyToPanels = /*#__PURE__*/ defineRoutine(
  "attentionPackColumns",
  { ...PACK_PARAMETERS, columnPanels: I32, mask: I32, flags: I32 },
  (body, args, task) => {
    const { width, keyHeads, panels } = args;
    const stride = body.let(keyHeads.mul(width).shl(2));
    const strange = body.let(I32x4.const(0));
    const last = body.let(args.seen.sub(1));
    eachUnit(body, task, args, (unit) => {
      const { pair, panel } = partsOf(body, unit, panels);
      const place = pairOf(body, pair, args);
      const first = body.let(keyRows(args.from, place, args, width));
      const target = body.let(pair.mul(args.columnPanels).mul(panels).add(panel).mul(PANEL_BLOCK));
      body.increment(target, args.to);
      const key = body.int(panel.mul(PANEL));
      const end = body.let(key.add(PANEL));
      body.while(
        () => key.ltU(end),
        () => {
          const from = body.let(first.add(key.minU(last).mul(stride)));
          const shown = body.let(isShown(body, { ...args, key }, place));
          copyColumns(body, {
            from,
            to: target,
            width,
            step: panels.mul(PANEL_BLOCK),
            shown,
            strange,
          });
          body.increment(target, PANEL_ROW);
          body.increment(key, 1);
        },
      );
    });
    body.store(wordAt(args.flags, task), strange.anyTrue());
  },
);

/** −1 where the key is there and not hidden, else 0. */
function isShown(
  body: Body,
  args: { readonly mask: I32; readonly key: I32; readonly seen: I32; readonly capacity: I32 },
  { batch }: Pair,
): I32 {
  const { mask, key, seen, capacity } = args;
  const shown = body.let(key.ltU(seen));
  body.if(shown.and(mask.ne(0)), () => {
    body.set(shown, I32.load(wordAt(mask, batch.mul(capacity).add(key))).ne(0));
  });
  return I32.const(0).sub(shown);
}

/** Copies a row into panels of 8 columns that are `step` bytes apart, with zeros behind its end. */
export function copyColumns(
  body: Body,
  row: {
    readonly from: I32;
    readonly to: I32;
    readonly width: I32;
    readonly step: I32;
    /** −1, or 0: then all is zero, and what is read does not count. */
    readonly shown: I32;
    /** Gets bits where a number is not finite. */
    readonly strange?: I32x4;
  },
): void {
  const { width, shown } = row;
  const to = body.let(row.to);
  const from = body.let(row.from);
  const step = body.let(row.step);
  const rest = body.let(width);
  const copy = (change: (vector: F32x4, half: number) => F32x4): void => {
    for (const half of [0, 1]) {
      const vector = body.let(change(F32x4.load(from, half * 16), half));
      body.store(to, vector, half * 16);
      if (row.strange) noteStrange(body, row.strange, vector);
    }
    body.increment(from, PANEL_ROW);
    body.increment(to, step);
    body.increment(rest, -PANEL);
  };
  body.if(shown, () => {
    body.while(
      () => rest.ge(PANEL),
      () => copy((vector) => vector),
    );
  });
  const zero = F32x4.const(0);
  body.while(
    () => rest.gt(0),
    () => {
      const count = body.let(rest.and(shown));
      copy((vector, half) => lanesBelow(count.sub(half * 4)).choose(vector, zero));
    },
  );
}

/** The difference of a finite number and itself has no bit that is 1. */
function noteStrange(body: Body, strange: I32x4, vector: F32x4): void {
  body.set(strange, strange.or(vector.sub(vector).as(I32x4)));
}

/** Packed columns, and whether all of them are finite. */
export interface ColumnPanels {
  readonly address: number;
  readonly finite: boolean;
}

/** Packs keys or values as [pair][panel of columns][key][8 columns]. */
export function panelsOfColumns(
  call: KernelCall,
  shape: AttentionShape,
  source: Operand,
  width: number,
  mask?: Operand,
): ColumnPanels {
  const units = shape.pairs * shape.panels;
  const panels = columnPanels(width);
  const address = call.temporary(units * panels * PANEL_BLOCK);
  const perTask = packUnits(width);
  const tasks = Math.ceil(units / perTask);
  const flags = call.temporary(tasks * 4);
  call.launch(
    copyToPanels,
    {
      ...shape,
      from: firstKeys(source, shape, width),
      to: address,
      width,
      columnPanels: panels,
      mask: firstOfMask(mask, shape),
      flags,
      units,
      perTask,
    },
    tasks,
  );
  const { view } = call;
  let finite = true;
  for (let task = 0; task < tasks; task++) finite &&= view.getUint32(flags + task * 4, true) === 0;
  return { address, finite };
}

/** The routine that packs columns. */
export const columnRoutines: readonly Routine[] = [copyToPanels];
