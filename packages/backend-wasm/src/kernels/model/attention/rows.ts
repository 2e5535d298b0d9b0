import type { AttentionAttributes } from "@moiety/core";
import type { Body } from "../../../emit/body.ts";
import { F32x4 } from "../../../emit/vectors.ts";
import type { KernelCall, Operand } from "../../../kernel.ts";
import { type Routine, defineRoutine } from "../../../routine.ts";
import { PANEL } from "../../products/tile.ts";
import { storeLanes, wordAt } from "../../reduction/lanes.ts";
import {
  type Batch,
  type RowArguments,
  PANELS_AT_ONCE,
  ROWS_AT_ONCE,
  ROW_PARAMETERS,
  VECTOR,
  eachPair,
  eachRow,
} from "./row-batch.ts";
import { scoreBatch } from "./row-scores.ts";
import { sumValues } from "./row-values.ts";
import { raiseScores } from "./scores.ts";
import {
  type AttentionShape,
  LINE,
  PANEL_ROW,
  firstKeys,
  firstOfMask,
  firstSeen,
  limitOf,
  panelsOfRows,
  queryRow,
  statisticsWord,
} from "./shape.ts";
import { divisor, keepLogarithm, panelOf, panelsOf, shareOf, sinkOf } from "./statistics.ts";

/**
 * Multiplications and additions that a task should have at least: these, too, take some tens of
 * microseconds, since few rows wait for memory.
 */
const ROWS_WORK = 2 ** 17;
/**
 * Bytes of one key, all heads of a task together, that it should read in order for a single row: half
 * a page, so that the next lines are fetched before they are asked for. More rows are bound by their
 * products instead, and need as much less.
 */
const READ_IN_ORDER = 2 ** 11;
/** Bytes that scores and sums of a task's pairs may have, beyond those of one: about a second cache. */
const SCRATCH_MOST = 2 ** 20;

/**
 * Few rows at a time, on keys and values where they lie: for decoding, and for values that are not
 * finite. The orders of sums are those of the tiles. The pairs of a task go through the keys together,
 * since what they read lies side by side.
 */
const attentionRows = /*#__PURE__*/ defineRoutine(
  "attentionRows",
  ROW_PARAMETERS,
  (body, args, task) => {
    const scores = body.let(args.scratch.add(task.mul(args.scratchBytes)));
    const rows = body.let(args.perTask.mul(args.rowsAtOnce));
    const sums = body.let(scores.add(args.scoreBytes.mul(rows)));
    const packed = body.let(sums.add(args.sumBytes.mul(rows)));
    const firstPair = body.let(task.mul(args.perTask));
    const pairs = body.let(args.pairs.sub(firstPair).minU(args.perTask));
    body.for(0, args.rows, args.rowsAtOnce, (first) => {
      const rest = body.let(args.rows.sub(first));
      const count = body.let(rest.minU(args.rowsAtOnce));
      const top = body.let(limitOf(first.divU(args.group), args));
      const last = limitOf(first.add(count).sub(1).divU(args.group), args);
      const firstPanel = body.let(panelOf(firstSeen(top, args)));
      const panels = body.let(panelsOf(last).sub(firstPanel));
      const places = { firstPair, pairs, first, count, firstPanel, panels };
      const batch = { ...places, scores, sums, packed };
      scoreBatch(body, batch, args);
      raiseBatch(body, batch, args);
      sumValues(body, batch, args);
      storeBatch(body, batch, args);
    });
  },
);

/** Turns the scores of a batch into powers, and keeps what they are divided by before the sums. */
function raiseBatch(body: Body, batch: Batch, args: RowArguments): void {
  eachPair(body, batch, args, (rows) =>
    eachRow(body, rows, args, (place, { scores, sums }) => {
      const sink = sinkOf(body, args.sinks, place.head);
      const { greatest, sum } = raiseScores(body, { row: scores, sink }, batch.panels, PANEL_ROW);
      body.if(args.kept, () =>
        keepLogarithm(body, statisticsWord(args.kept, rows.pair, place, args), greatest, sum),
      );
      body.store(sums, divisor(sum));
    }),
  );
}

/** Divides the sums of a batch and stores them. */
function storeBatch(body: Body, batch: Batch, args: RowArguments): void {
  eachPair(body, batch, args, (rows) =>
    eachRow(body, rows, args, (place, { sums }) => {
      const total = body.let(F32x4.load(sums));
      const to = body.let(queryRow(args.y, rows.pair, place, args, args.valueWidth));
      body.for(0, args.valueWidth, 4, (column) => {
        const sum = F32x4.load(wordAt(sums, column), VECTOR);
        const rest = args.valueWidth.sub(column);
        storeLanes(body, wordAt(to, column), body.let(shareOf(sum, total)), body.let(rest));
      });
    }),
  );
}

/** What an attention reads beside q, k and v, and where its results go. */
export interface Results {
  readonly mask: Operand | undefined;
  /** Address of a word for each query head; 0 without sinks. */
  readonly sinks: number;
  readonly y: number;
  /** Address of the residual; 0 where it is not wanted. */
  readonly kept: number;
}

/** Runs an attention row by row. */
export function launchRows(call: KernelCall, shape: AttentionShape, results: Results): void {
  const { pairs, rows, width, valueWidth } = shape;
  const rowsAtOnce = Math.min(rows, ROWS_AT_ONCE);
  const panels = panelsOfRows(rowsAtOnce, shape);
  const scoreBytes = Math.ceil(panels / PANELS_AT_ONCE) * PANELS_AT_ONCE * PANEL_ROW;
  const sumBytes = VECTOR + Math.ceil(valueWidth / 4) * VECTOR;
  const packedBytes = PANELS_AT_ONCE * width * PANEL_ROW;
  const pairBytes = rowsAtOnce * (scoreBytes + sumBytes);
  const perTask = pairsPerTask(shape, panels, pairBytes);
  const tasks = Math.ceil(pairs / perTask);
  const scratchBytes = Math.ceil((perTask * pairBytes + packedBytes) / LINE) * LINE;
  const { scale } = call.attributes<AttentionAttributes>();
  call.launch(
    attentionRows,
    {
      ...shape,
      ...results,
      mask: firstOfMask(results.mask, shape),
      q: call.input(0).address,
      k: firstKeys(call.input(1), shape, width),
      v: firstKeys(call.input(2), shape, valueWidth),
      scale,
      scratch: call.temporary(tasks * scratchBytes),
      scratchBytes,
      scoreBytes,
      sumBytes,
      rowsAtOnce,
      perTask,
    },
    tasks,
  );
}

/** Pairs of a task: enough for its work and for reading in order, but no more than fit a cache. */
function pairsPerTask(shape: AttentionShape, panels: number, pairBytes: number): number {
  const { pairs, rows, width, valueWidth } = shape;
  const forWork = ROWS_WORK / Math.max(1, rows * panels * PANEL * (width + valueWidth));
  const inOrder = READ_IN_ORDER / Math.max(1, rows * width * 4);
  const most = Math.floor(SCRATCH_MOST / pairBytes);
  const wanted = Math.min(most, Math.max(Math.floor(forWork), Math.ceil(inOrder)));
  // As many tasks as that takes, as equal as may be.
  const tasks = Math.ceil(pairs / Math.max(1, wanted));
  return Math.ceil(pairs / tasks);
}

/** The routine of these rows. */
export const rowRoutines: readonly Routine[] = [attentionRows];
