import type { AttentionAttributes } from "@moiety/core";
import type { Body } from "../../../emit/body.ts";
import { I32 } from "../../../emit/scalars.ts";
import type { Kernel, KernelCall } from "../../../kernel.ts";
import { type Routine, defineRoutine } from "../../../routine.ts";
import { PANEL, TILE_ROWS } from "../../products/tile.ts";
import { addBlock, copyBlock } from "./backward-block.ts";
import { differentiateTile } from "./backward-tile.ts";
import {
  type BackwardArguments,
  type Unit,
  BACKWARD_PARAMETERS,
  BLOCK_ROWS,
  scratchBytes,
  scratchOf,
  unitOf,
} from "./backward-unit.ts";
import { panelsOfColumns } from "./columns.ts";
import { gatherRoutines, launchGather } from "./gather.ts";
import { transposedPanels } from "./pack.ts";
import {
  type AttentionShape,
  PANEL_BLOCK,
  TILE_BLOCK,
  attentionShape,
  columnPanels,
  eachUnit,
  firstOfMask,
  firstSeen,
  panelsOfRows,
  placeOf,
  unitsPerTask,
} from "./shape.ts";
import { panelOf, panelsOf } from "./statistics.ts";

/** Pairs are cut into parts with sums of their own until there are about so many. */
const TASKS = 16;

/**
 * Blocks of rows: powers again from the kept logarithms, slopes of the scores from them, the queries'
 * gradients whole, and what the block adds to those of keys and values. A unit is every `chunks`-th
 * block of a pair, with sums of its own.
 */
const attentionGradients = /*#__PURE__*/ defineRoutine(
  "attentionBackward",
  BACKWARD_PARAMETERS,
  (body, args, task) => {
    const panelBytes = body.let(args.panels.mul(PANEL_BLOCK));
    const scratch = scratchOf(body, args, task);
    eachUnit(body, task, args, (number) => {
      const unit = unitOf(body, { number, panelBytes, scratch }, args);
      body.fillBytes(unit.keySums, 0, unit.keyBytes);
      body.fillBytes(unit.valueSums, 0, unit.valueBytes);
      const block = body.let(unit.firstBlock);
      body.while(
        () => block.ltU(args.blocks),
        () => {
          differentiateBlock(body, unit, { block, panelBytes }, args);
          body.increment(block, args.chunks);
        },
      );
    });
  },
);

function differentiateBlock(
  body: Body,
  unit: Unit,
  { block, panelBytes }: { readonly block: I32; readonly panelBytes: I32 },
  args: BackwardArguments,
): void {
  const { scratch } = unit;
  const first = body.let(block.mul(BLOCK_ROWS));
  const rest = body.let(args.rows.sub(first));
  const rows = body.let(rest.minU(I32.const(BLOCK_ROWS)));
  const tiles = body.let(rows.add(TILE_ROWS - 1).divU(TILE_ROWS));
  const top = placeOf(body, unit.pair, first, args);
  const last = placeOf(body, unit.pair, body.let(first.add(rows).sub(1)), args);
  const firstPanel = body.let(panelOf(firstSeen(top.limit, args)));
  const tileBytes = body.let(args.blockPanels.mul(TILE_BLOCK));
  copyBlock(body, unit, { first, tiles }, args);
  body.for(0, tiles, 1, (tile) =>
    differentiateTile(body, unit, { first, firstPanel, tile, tileBytes, panelBytes }, args),
  );
  const sizes = {
    firstPanel,
    panels: body.let(panelsOf(last.limit).sub(firstPanel)),
    tiles,
    tileStarts: scratch.tileStarts,
    tileEnds: scratch.tileEnds,
    tileBytes,
    panelBytes,
  };
  addBlock(body, sizes, {
    factors: scratch.slopes,
    rows: scratch.queries,
    sums: unit.keySums,
    width: args.width,
  });
  addBlock(body, sizes, {
    factors: scratch.powers,
    rows: scratch.gradients,
    sums: unit.valueSums,
    width: args.valueWidth,
  });
}

/** `attentionBackward`: gradients of queries, keys and values. */
export const attentionBackward: Kernel = (call) => {
  const shape = attentionShape(call);
  const [dq, dk, dv] = [call.make(0), call.make(1), call.make(2)];
  const { pairs, rows, width, valueWidth } = shape;
  const blocks = Math.ceil(rows / BLOCK_ROWS);
  const chunks = Math.max(1, Math.min(blocks, Math.ceil(TASKS / Math.max(pairs, 1))));
  const units = pairs * chunks;
  const bytes = units * shape.panels * PANEL_BLOCK;
  const keySums = call.temporary(bytes * columnPanels(width));
  const valueSums = call.temporary(bytes * columnPanels(valueWidth));
  launchGradients(call, shape, { dq: dq.address, keySums, valueSums, blocks, chunks, units });
  launchGather(call, shape, { sums: keySums, to: dk.address, width, chunks });
  launchGather(call, shape, { sums: valueSums, to: dv.address, width: valueWidth, chunks });
  return [dq, dk, dv];
};

function launchGradients(
  call: KernelCall,
  shape: AttentionShape,
  places: {
    readonly dq: number;
    readonly keySums: number;
    readonly valueSums: number;
    readonly blocks: number;
    readonly chunks: number;
    readonly units: number;
  },
): void {
  const { rows, width, valueWidth } = shape;
  const [k, v] = [call.input(1), call.input(2)];
  const mask = call.optional(6);
  const { scale } = call.attributes<AttentionAttributes>();
  const blockPanels = panelsOfRows(BLOCK_ROWS, shape);
  const keysOfRow = blockPanels * PANEL;
  const work = Math.ceil((rows / places.chunks) * keysOfRow * (3 * width + 2 * valueWidth));
  const perTask = unitsPerTask(work);
  const tasks = Math.ceil(places.units / perTask);
  const taskBytes = scratchBytes(shape, blockPanels);
  call.launch(
    attentionGradients,
    {
      ...shape,
      ...places,
      scale,
      q: call.input(0).address,
      output: call.input(3).address,
      kept: call.input(4).address,
      gradient: call.input(5).address,
      mask: firstOfMask(mask, shape),
      keysAcross: transposedPanels(call, shape, k, width),
      keyColumns: panelsOfColumns(call, shape, k, width, mask).address,
      valuesAcross: transposedPanels(call, shape, v, valueWidth),
      scratch: call.temporary(tasks * taskBytes),
      scratchBytes: taskBytes,
      blockPanels,
      perTask,
    },
    tasks,
  );
}

/** Routines of the backward. */
export const backwardRoutines: readonly Routine[] = [attentionGradients, ...gatherRoutines];
