import type { Words } from "../../../routine.ts";
import { type AttentionAttributes, type Shape } from "@moiety/core";
import { I32 } from "../../../emit/scalars.ts";
import type { Body } from "../../../emit/body.ts";
import type { KernelCall, Operand } from "../../../kernel.ts";
import { PANEL, TILE_ROWS } from "../../products/tile.ts";

/**
 * Sizes of an attention. The queries of all heads that share a key head are its rows: row r is query
 * ⌊r/group⌋ of the head r mod group among these. Keys are counted from the first panel on in which
 * somebody sees one: those before it lie before every window.
 */
export interface AttentionShape {
  readonly queries: number;
  readonly heads: number;
  /** Keys that there are, seen or not. */
  readonly capacity: number;
  readonly keyHeads: number;
  readonly width: number;
  readonly valueWidth: number;
  /** Query heads of a key head. */
  readonly group: number;
  /** Batch · key heads: each of these pairs is an attention for itself. */
  readonly pairs: number;
  /** Rows of a pair. */
  readonly rows: number;
  /** Keys before the first panel in which somebody sees one. */
  readonly skipped: number;
  /** Keys behind the skipped ones, up to the last one that anybody sees. */
  readonly seen: number;
  /** {@link seen} in panels of 8 keys. */
  readonly panels: number;
  /** Query i sees the keys below `firstLimit + i · limitStep`. */
  readonly firstLimit: number;
  readonly limitStep: number;
  /** And of these the last ones, so many. */
  readonly window: number;
}

/** Reads the sizes of a call of `attention` or of its backward. */
export function attentionShape(call: KernelCall): AttentionShape {
  const [batch = 0, queries = 0, heads = 0, width = 0]: Shape = call.input(0).shape;
  const [, capacity = 0, keyHeads = 0, valueWidth = 0]: Shape = call.input(2).shape;
  const { causal, position, window = capacity } = call.attributes<AttentionAttributes>();
  const group = keyHeads === 0 ? 0 : heads / keyHeads;
  const before = causal ? Math.max(0, position + 1 - window) : 0;
  // Whole panels, so that a key has the same place in its panel whatever else is seen.
  const skipped = Math.floor(before / PANEL) * PANEL;
  const seen = (causal ? Math.min(capacity, position + queries) : capacity) - skipped;
  return {
    queries,
    heads,
    capacity,
    keyHeads,
    width,
    valueWidth,
    group,
    pairs: batch * keyHeads,
    rows: queries * group,
    skipped,
    seen,
    panels: Math.ceil(seen / PANEL),
    firstLimit: causal ? position + 1 - skipped : seen,
    limitStep: causal ? 1 : 0,
    window: Math.min(window, seen),
  };
}

/** The most panels in which so many rows, one after the other, see keys. */
export function panelsOfRows(
  rows: number,
  { group, queries, window, panels }: AttentionShape,
): number {
  const together = Math.min(queries, Math.ceil((rows - 1) / Math.max(group, 1)) + 1);
  const keys = window + together - 1;
  // The first of them may be the last key of a panel.
  return Math.min(panels, Math.floor((keys + PANEL - 2) / PANEL) + 1);
}

/** Address of keys or values behind the skipped ones. */
export function firstKeys(source: Operand, shape: AttentionShape, width: number): number {
  return source.address + shape.skipped * shape.keyHeads * width * 4;
}

/** Address of the mask's words behind those of skipped keys; 0 without a mask. */
export function firstOfMask(mask: Operand | undefined, { skipped }: AttentionShape): number {
  return mask ? mask.address + skipped * 4 : 0;
}

/** The arguments of routines that say the sizes. */
export const SHAPE_PARAMETERS: Words<
  | "queries"
  | "heads"
  | "capacity"
  | "keyHeads"
  | "width"
  | "valueWidth"
  | "group"
  | "pairs"
  | "rows"
  | "skipped"
  | "seen"
  | "panels"
  | "firstLimit"
  | "limitStep"
  | "window"
> = {
  queries: I32,
  heads: I32,
  capacity: I32,
  keyHeads: I32,
  width: I32,
  valueWidth: I32,
  group: I32,
  pairs: I32,
  rows: I32,
  skipped: I32,
  seen: I32,
  panels: I32,
  firstLimit: I32,
  limitStep: I32,
  window: I32,
};

/** The sizes inside a routine. */
export type ShapeArguments = { readonly [Name in keyof typeof SHAPE_PARAMETERS]: I32 };

/** Multiplications and additions that a task should have at least: some tens of microseconds. */
const TASK_WORK = 2 ** 20;

/** Units of work that are one task, where each has so many multiplications and additions. */
export function unitsPerTask(work: number): number {
  return Math.max(1, Math.floor(TASK_WORK / Math.max(work, 1)));
}

/** Visits the units of a task. */
export function eachUnit(
  body: Body,
  task: I32,
  { units, perTask }: { readonly units: I32; readonly perTask: I32 },
  visit: (unit: I32) => void,
): void {
  const from = body.let(task.mul(perTask));
  const to = body.let(from.add(perTask));
  body.set(to, to.minU(units));
  body.for(from, to, 1, visit);
}

/** A pair inside a routine: its batch and its key head. */
export interface Pair {
  readonly batch: I32;
  readonly keyHead: I32;
}

/** Takes the number of a pair apart. */
export function pairOf(
  body: Body,
  pair: I32,
  { keyHeads }: Pick<ShapeArguments, "keyHeads">,
): Pair {
  const batch = body.let(pair.divU(keyHeads));
  return { batch, keyHead: body.let(pair.sub(batch.mul(keyHeads))) };
}

/** A row of a pair: its query, its head, and how many keys it sees. */
export interface RowPlace {
  readonly query: I32;
  readonly head: I32;
  readonly limit: I32;
}

/** Finds a row of a pair, which must be there. */
export function placeOf(body: Body, pair: Pair, row: I32, shape: ShapeArguments): RowPlace {
  const query = body.let(row.divU(shape.group));
  const first = pair.keyHead.mul(shape.group);
  const head = body.let(row.sub(query.mul(shape.group)).add(first));
  return { query, head, limit: body.let(limitOf(query, shape)) };
}

/** How many keys a query sees, but for those before its window. */
export function limitOf(
  query: I32,
  { firstLimit, limitStep }: Pick<ShapeArguments, "firstLimit" | "limitStep">,
): I32 {
  return firstLimit.add(query.mul(limitStep));
}

/** The first key that a row sees which sees the keys below `limit`, a local. */
export function firstSeen(limit: I32, { window }: Pick<ShapeArguments, "window">): I32 {
  return limit.sub(limit.minU(window));
}

/** Address of a row in `[B, Tq, Hq, width]`. */
export function queryRow(
  base: I32,
  { batch }: Pair,
  { query, head }: RowPlace,
  { queries, heads }: ShapeArguments,
  width: I32,
): I32 {
  const row = batch.mul(queries).add(query).mul(heads).add(head);
  return base.add(row.mul(width).shl(2));
}

/** Address of a row's word in `[B, Hq, Tq]`. */
export function statisticsWord(
  base: I32,
  { batch }: Pair,
  { query, head }: RowPlace,
  { queries, heads }: ShapeArguments,
): I32 {
  return base.add(batch.mul(heads).add(head).mul(queries).add(query).shl(2));
}

/** Address of the first key or value of a pair in `[B, Tk, Hkv, width]`. */
export function keyRows(
  base: I32,
  { batch, keyHead }: Pair,
  { capacity, keyHeads }: Pick<ShapeArguments, "capacity" | "keyHeads">,
  width: I32,
): I32 {
  return base.add(batch.mul(capacity).mul(keyHeads).add(keyHead).mul(width).shl(2));
}

/** Bytes of a cache line: the memories of different tasks begin on lines of their own. */
export const LINE = 64;
/** Bytes of one row of 8 floats of a panel. */
export const PANEL_ROW: number = PANEL * 4;
/** Bytes of 8 keys of a panel with 8 columns. */
export const PANEL_BLOCK: number = PANEL * PANEL_ROW;
/** Bytes of a tile's scores for 8 keys. */
export const TILE_BLOCK: number = TILE_ROWS * PANEL_ROW;

/** Panels of 8 columns. */
export function columnPanels(width: number): number {
  return Math.ceil(width / PANEL);
}
