import type { AttentionAttributes } from "@moiety/core";
import type { Body } from "../../../emit/body.ts";
import { F32, I32 } from "../../../emit/scalars.ts";
import { F32x4 } from "../../../emit/vectors.ts";
import type { KernelCall } from "../../../kernel.ts";
import { type Routine, defineRoutine } from "../../../routine.ts";
import { storeRows } from "../../products/store.ts";
import { PANEL, TILE_ROWS } from "../../products/tile.ts";
import { wordAt } from "../../reduction/lanes.ts";
import { splat } from "../rows.ts";
import type { Results } from "./rows.ts";
import { eachKeyPanel, raiseScores, sightOf, storeScores, sumOverKeys } from "./scores.ts";
import {
  type AttentionShape,
  type Pair,
  type RowPlace,
  type ShapeArguments,
  PANEL_BLOCK,
  PANEL_ROW,
  SHAPE_PARAMETERS,
  TILE_BLOCK,
  eachUnit,
  firstOfMask,
  pairOf,
  panelsOfRows,
  placeOf,
  queryRow,
  statisticsWord,
  unitsPerTask,
} from "./shape.ts";
import { divisor, keepLogarithm, maskOf, panelsOf, shareOf, sinkOf } from "./statistics.ts";

/** Bytes for the sums of a tile's rows, before its scores. */
const SUMS_BYTES = 64;
/** Pairs of few rows are cut no further; there are about so many tasks. */
const TASKS = 64;

const TILE_PARAMETERS = {
  ...SHAPE_PARAMETERS,
  y: I32,
  kept: I32,
  scale: F32,
  q: I32,
  keys: I32,
  values: I32,
  mask: I32,
  sinks: I32,
  scratch: I32,
  scratchBytes: I32,
  tiles: I32,
  chunks: I32,
  units: I32,
  perTask: I32,
} as const;

type TileArguments = {
  readonly [Name in Exclude<keyof typeof TILE_PARAMETERS, "scale">]: I32;
} & { readonly scale: F32 };

/**
 * Six rows at a time: their scores with all keys, powers of these, and the values' sums. A unit is every
 * `chunks`-th tile of a pair, so that units of causal rows have equal work.
 */
const attentionTiles = /*#__PURE__*/ defineRoutine(
  "attentionTiles",
  TILE_PARAMETERS,
  (body, args, task) => {
    const { panels, width, valueWidth, chunks } = args;
    const sums = body.let(args.scratch.add(task.mul(args.scratchBytes)));
    const scores = body.let(sums.add(SUMS_BYTES));
    const valueBytes = body.let(panels.mul(PANEL_BLOCK));
    eachUnit(body, task, args, (unit) => {
      const number = body.let(unit.divU(chunks));
      const pair = pairOf(body, number, args);
      const keys = body.let(args.keys.add(number.mul(panels).mul(width).mul(PANEL_ROW)));
      const values = body.let(args.values.add(number.mul(panelsOf(valueWidth)).mul(valueBytes)));
      const mask = body.let(maskOf(args.mask, pair, args));
      const tile = body.let(unit.sub(number.mul(chunks)));
      body.while(
        () => tile.ltU(args.tiles),
        () => {
          attendTile(body, { tile, pair, keys, values, valueBytes, mask, sums, scores }, args);
          body.increment(tile, chunks);
        },
      );
    });
  },
);

/** A tile, and where its operands are. */
interface Tile {
  readonly tile: I32;
  readonly pair: Pair;
  readonly keys: I32;
  readonly values: I32;
  /** Bytes of a panel of values. */
  readonly valueBytes: I32;
  readonly mask: I32;
  readonly sums: I32;
  readonly scores: I32;
}

/** Scores, powers and sums of values of six rows. */
function attendTile(body: Body, given: Tile, args: TileArguments): void {
  const { tile, pair, mask, scores } = given;
  const { width, valueWidth } = args;
  const rows = tileRows(body, pair, tile, args);
  const limits = rows.map(({ limit }) => limit);
  const sight = sightOf(body, { limits, mask, isWhole: args.mask.eq(0) }, args);
  const { firstPanel } = sight;
  const panels = body.let(panelsOf(limits.at(-1) ?? missing()).sub(firstPanel));
  const keys = given.keys.add(firstPanel.mul(width).mul(PANEL_ROW));
  const addresses = rows.map((row) => body.let(queryRow(args.q, pair, row, args, width)));
  const scale = splat(body, args.scale);
  const to = body.let(scores);
  eachKeyPanel(body, { rows: addresses, keys, width, panels }, (panel, found) => {
    for (const vector of found.flat()) body.set(vector, vector.mul(scale));
    storeScores(body, to, found, panel, sight);
    body.increment(to, TILE_BLOCK);
  });
  raiseTile(body, given, panels, args);
  const targets = rows.map((row) => body.let(queryRow(args.y, pair, row, args, valueWidth)));
  const values = given.values.add(firstPanel.mul(PANEL_BLOCK));
  storeValues(body, targets, { ...given, values }, panels, valueWidth);
}

/** Turns the scores of six rows into powers, and keeps their sums. */
function raiseTile(
  body: Body,
  { tile, pair, sums, scores }: Tile,
  panels: I32,
  args: TileArguments,
): void {
  body.for(0, TILE_ROWS, 1, (index) => {
    const place = placeOf(body, pair, body.let(rowAt(tile, index, args)), args);
    const row = scores.add(index.mul(PANEL_ROW));
    const sink = sinkOf(body, args.sinks, place.head);
    const { greatest, sum } = raiseScores(body, { row, sink }, panels, TILE_BLOCK);
    body.store(wordAt(sums, index), divisor(sum).lane(0));
    body.if(args.kept, () =>
      keepLogarithm(body, statisticsWord(args.kept, pair, place, args), greatest, sum),
    );
  });
}

/** The rows of a tile; behind the last one it is repeated, which gives the same bits in the same place. */
function tileRows(body: Body, pair: Pair, tile: I32, args: ShapeArguments): RowPlace[] {
  return Array.from({ length: TILE_ROWS }, (_, index) =>
    placeOf(body, pair, body.let(rowAt(tile, I32.const(index), args)), args),
  );
}

function rowAt(tile: I32, index: I32, { rows }: ShapeArguments): I32 {
  const row = tile.mul(TILE_ROWS).add(index);
  return row.minU(rows.sub(1));
}

/** Sums the values of six rows and divides them by the rows' sums of powers. */
function storeValues(
  body: Body,
  targets: readonly I32[],
  { sums, scores, ...tile }: Tile,
  panels: I32,
  valueWidth: I32,
): void {
  const values = body.let(tile.values);
  const rest = body.let(valueWidth);
  body.while(
    () => rest.gt(0),
    () => {
      const found = sumOverKeys(body, scores, values, panels);
      for (const [row, vectors] of found.entries()) {
        const total = body.let(F32x4.loadSplat(sums, row * 4));
        for (const vector of vectors) body.set(vector, shareOf(vector, total));
      }
      storeRows(body, targets, found, rest);
      for (const target of targets) body.increment(target, PANEL_ROW);
      body.increment(values, tile.valueBytes);
      body.increment(rest, -PANEL);
    },
  );
}

/** Runs the tiles of an attention. */
export function launchTiles(
  call: KernelCall,
  shape: AttentionShape,
  operands: Results & { readonly keys: number; readonly values: number },
): void {
  const { pairs, rows, width, valueWidth } = shape;
  const panels = panelsOfRows(TILE_ROWS, shape);
  const tiles = Math.ceil(rows / TILE_ROWS);
  const chunks = Math.min(tiles, Math.ceil(TASKS / pairs));
  const units = pairs * chunks;
  const work = Math.ceil(tiles / chunks) * TILE_ROWS * panels * PANEL * (width + valueWidth);
  const perTask = unitsPerTask(work);
  const tasks = Math.ceil(units / perTask);
  const scratchBytes = SUMS_BYTES + panels * TILE_BLOCK;
  const { scale } = call.attributes<AttentionAttributes>();
  call.launch(
    attentionTiles,
    {
      ...shape,
      ...operands,
      mask: firstOfMask(operands.mask, shape),
      q: call.input(0).address,
      scale,
      scratch: call.temporary(tasks * scratchBytes),
      scratchBytes,
      tiles,
      chunks,
      units,
      perTask,
    },
    tasks,
  );
}

function missing(): never {
  throw new TypeError("a tile has no rows");
}

/** The routine of these tiles. */
export const tileRoutines: readonly Routine[] = [attentionTiles];
