import type { Floats, Words } from "../../../routine.ts";
import type { Body } from "../../../emit/body.ts";
import { F32, I32 } from "../../../emit/scalars.ts";
import { TILE_ROWS } from "../../products/tile.ts";
import {
  type AttentionShape,
  type Pair,
  type ShapeArguments,
  LINE,
  PANEL_ROW,
  SHAPE_PARAMETERS,
  TILE_BLOCK,
  columnPanels,
  pairOf,
} from "./shape.ts";
import { maskOf, panelsOf } from "./statistics.ts";

/** Tiles whose rows are added to the gradients of keys and values at once. */
const BLOCK_TILES = 4;
/** Rows of these tiles. */
export const BLOCK_ROWS: number = BLOCK_TILES * TILE_ROWS;
/** Bytes of a panel of 8 columns of a block's rows. */
export const BLOCK_PANEL: number = BLOCK_ROWS * PANEL_ROW;
/** Offsets in a task's memory. */
export interface Scratch {
  readonly powers: I32;
  readonly slopes: I32;
  readonly queries: I32;
  readonly gradients: I32;
  /** A word for each tile of a block: the first panel that it sees, counted from the block's first. */
  readonly tileStarts: I32;
  /** The same of the panel behind its last one. */
  readonly tileEnds: I32;
  /** A word for each row of a tile: the product of its output with its gradient. */
  readonly products: I32;
  /** Where the gradient of a row goes that is not there. */
  readonly nowhere: I32;
}

/** Parameters of the routine. */
export const BACKWARD_PARAMETERS: typeof SHAPE_PARAMETERS &
  Words<
    | "q"
    | "output"
    | "kept"
    | "gradient"
    | "mask"
    | "dq"
    | "keysAcross"
    | "keyColumns"
    | "valuesAcross"
    | "keySums"
    | "valueSums"
    | "scratch"
    | "scratchBytes"
    | "blockPanels"
    | "blocks"
    | "chunks"
    | "units"
    | "perTask"
  > &
  Floats<"scale"> = {
  ...SHAPE_PARAMETERS,
  scale: F32,
  q: I32,
  output: I32,
  kept: I32,
  gradient: I32,
  mask: I32,
  dq: I32,
  keysAcross: I32,
  keyColumns: I32,
  valuesAcross: I32,
  keySums: I32,
  valueSums: I32,
  scratch: I32,
  scratchBytes: I32,
  /** Panels that a block sees at most. */
  blockPanels: I32,
  blocks: I32,
  chunks: I32,
  units: I32,
  perTask: I32,
};

/** The same inside the routine. */
export type BackwardArguments = ShapeArguments & {
  readonly [Name in Exclude<keyof typeof BACKWARD_PARAMETERS, "scale">]: I32;
} & { readonly scale: F32 };

/** Addresses of what belongs to a unit. */
export interface Unit {
  readonly pair: Pair;
  /** The first of its blocks. */
  readonly firstBlock: I32;
  readonly keysAcross: I32;
  readonly keyColumns: I32;
  readonly valuesAcross: I32;
  readonly keySums: I32;
  /** Bytes of {@link keySums}. */
  readonly keyBytes: I32;
  readonly valueSums: I32;
  /** Bytes of {@link valueSums}. */
  readonly valueBytes: I32;
  readonly mask: I32;
  readonly scratch: Scratch;
}

/** Finds what belongs to a unit. */
export function unitOf(
  body: Body,
  {
    number,
    panelBytes,
    scratch,
  }: { readonly number: I32; readonly panelBytes: I32; readonly scratch: Scratch },
  args: BackwardArguments,
): Unit {
  const { panels, width, valueWidth, chunks } = args;
  const index = body.let(number.divU(chunks));
  const keyBytes = body.let(panelsOf(width).mul(panelBytes));
  const valueBytes = body.let(panelsOf(valueWidth).mul(panelBytes));
  const across = index.mul(panels).mul(PANEL_ROW);
  const pair = pairOf(body, index, args);
  return {
    pair,
    firstBlock: body.let(number.sub(index.mul(chunks))),
    keysAcross: body.let(args.keysAcross.add(across.mul(width))),
    valuesAcross: body.let(args.valuesAcross.add(across.mul(valueWidth))),
    keyColumns: body.let(args.keyColumns.add(index.mul(keyBytes))),
    keySums: body.let(args.keySums.add(number.mul(keyBytes))),
    keyBytes,
    valueSums: body.let(args.valueSums.add(number.mul(valueBytes))),
    valueBytes,
    mask: body.let(maskOf(args.mask, pair, args)),
    scratch,
  };
}

/** Takes a task's memory apart. */
export function scratchOf(body: Body, args: BackwardArguments, task: I32): Scratch {
  const powers = body.let(args.scratch.add(task.mul(args.scratchBytes)));
  const tiles = args.blockPanels.mul(TILE_BLOCK * BLOCK_TILES);
  const slopes = body.let(powers.add(tiles));
  const queries = body.let(slopes.add(tiles));
  const gradients = body.let(queries.add(panelsOf(args.width).mul(BLOCK_PANEL)));
  const products = body.let(gradients.add(panelsOf(args.valueWidth).mul(BLOCK_PANEL)));
  const tileStarts = body.let(products.add(PANEL_ROW));
  const tileEnds = body.let(tileStarts.add(BLOCK_TILES * 4));
  const nowhere = body.let(tileEnds.add(BLOCK_TILES * 4));
  return { powers, slopes, queries, gradients, products, tileStarts, tileEnds, nowhere };
}

/** Bytes that {@link scratchOf} gives out, a multiple of a cache line. */
export function scratchBytes({ width, valueWidth }: AttentionShape, blockPanels: number): number {
  const columns = columnPanels(width) + columnPanels(valueWidth);
  const nowhere = PANEL_ROW + 2 * BLOCK_TILES * 4 + columnPanels(width) * PANEL_ROW;
  const bytes = 2 * BLOCK_TILES * blockPanels * TILE_BLOCK + columns * BLOCK_PANEL + nowhere;
  return Math.ceil(bytes / LINE) * LINE;
}

/** The row, or the last one. */
export function existing(row: I32, { rows }: ShapeArguments): I32 {
  return row.minU(rows.sub(1));
}
