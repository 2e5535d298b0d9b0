import type { Body } from "../../../emit/body.ts";
import { F32, I32 } from "../../../emit/scalars.ts";
import { F32x4 } from "../../../emit/vectors.ts";
import type { KernelCall, Operand } from "../../../kernel.ts";
import { type Words, type Routine, defineRoutine } from "../../../routine.ts";
import { PANEL } from "../../products/tile.ts";
import { transpose4 } from "../../products/transpose4.ts";
import { wholeVectors } from "../../reduction/lanes.ts";
import {
  type AttentionShape,
  PANEL_ROW,
  eachUnit,
  firstKeys,
  keyRows,
  pairOf,
  unitsPerTask,
} from "./shape.ts";

/** Addresses of the 8 rows of a panel of keys; behind the last one it is repeated. */
export function panelRows(
  body: Body,
  first: I32,
  panel: I32,
  { seen, stride }: { readonly seen: I32; readonly stride: I32 },
): I32[] {
  const last = body.let(seen.sub(1));
  return Array.from({ length: PANEL }, (_, row) => {
    const key = body.let(panel.mul(PANEL).add(row));
    return body.let(first.add(key.minU(last).mul(stride)));
  });
}

/** Packs 8 rows as [column][8 rows]. All are addresses in locals, and are moved. */
export function packColumns(body: Body, rows: readonly I32[], width: I32, to: I32): void {
  const whole = body.let(wholeVectors(width));
  body.for(0, whole, 4, () => {
    for (const first of [0, 4]) {
      const vectors = [0, 1, 2, 3].map((row) =>
        body.let(F32x4.load(rows[first + row] ?? missing())),
      );
      for (const [column, vector] of transpose4(body, vectors).entries()) {
        body.store(to, vector, column * PANEL_ROW + first * 4);
      }
    }
    for (const row of rows) body.increment(row, 16);
    body.increment(to, 4 * PANEL_ROW);
  });
  body.for(whole, width, 1, () => {
    for (const [index, row] of rows.entries()) body.store(to, F32.load(row), index * 4);
    for (const row of rows) body.increment(row, 4);
    body.increment(to, PANEL_ROW);
  });
}

/** Parameters of routines that pack keys or values. */
export const PACK_PARAMETERS: Words<
  "from" | "to" | "capacity" | "keyHeads" | "width" | "seen" | "panels" | "units" | "perTask"
> = {
  from: I32,
  to: I32,
  capacity: I32,
  keyHeads: I32,
  width: I32,
  seen: I32,
  panels: I32,
  units: I32,
  perTask: I32,
};

/** Panels of 8 keys: [panel][column][8 keys]. */
const packTransposed = /*#__PURE__*/ defineRoutine(
  "attentionPackTransposed",
  PACK_PARAMETERS,
  (body, args, task) => {
    const { width, keyHeads, panels } = args;
    const stride = body.let(keyHeads.mul(width).shl(2));
    eachUnit(body, task, args, (unit) => {
      const { pair, panel } = partsOf(body, unit, panels);
      const first = body.let(keyRows(args.from, pairOf(body, pair, args), args, width));
      const rows = panelRows(body, first, panel, { seen: args.seen, stride });
      const to = body.let(args.to.add(unit.mul(width).mul(PANEL_ROW)));
      packColumns(body, rows, width, to);
    });
  },
);

/** Pair and panel of a unit. */
export function partsOf(
  body: Body,
  unit: I32,
  panels: I32,
): { readonly pair: I32; readonly panel: I32 } {
  const pair = body.let(unit.divU(panels));
  return { pair, panel: body.let(unit.sub(pair.mul(panels))) };
}

/** Packs keys or values as [pair][panel][column][8 keys]. */
export function transposedPanels(
  call: KernelCall,
  shape: AttentionShape,
  source: Operand,
  width: number,
): number {
  const units = shape.pairs * shape.panels;
  const to = call.temporary(units * width * PANEL_ROW);
  const perTask = packUnits(width);
  call.launch(
    packTransposed,
    { ...shape, from: firstKeys(source, shape, width), to, width, units, perTask },
    Math.ceil(units / perTask),
  );
  return to;
}

/** What packing one number costs, in multiplications and additions. */
const PACK_COST = 16;

/** Panels that one task packs. */
export function packUnits(width: number): number {
  return unitsPerTask(width * PANEL * PACK_COST);
}

function missing(): never {
  throw new TypeError("a panel has no such row");
}

/** The routine that packs keys side by side. */
export const packRoutines: readonly Routine[] = [packTransposed];
