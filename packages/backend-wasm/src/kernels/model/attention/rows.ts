import type { AttentionAttributes } from "@moiety/core";
import type { Body } from "../../../emit/body.ts";
import { I32 } from "../../../emit/scalars.ts";
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
  eachRow,
} from "./row-batch.ts";
import { scoreBatch } from "./row-scores.ts";
import { sumValues } from "./row-values.ts";
import { raiseScores } from "./scores.ts";
import {
  type AttentionShape,
  LINE,
  PANEL_ROW,
  eachUnit,
  firstKeys,
  firstOfMask,
  firstSeen,
  pairOf,
  panelsOfRows,
  placeOf,
  queryRow,
  statisticsWord,
  unitsPerTask,
} from "./shape.ts";
import {
  divisor,
  keepLogarithm,
  maskOf,
  panelOf,
  panelsOf,
  shareOf,
  sinkOf,
} from "./statistics.ts";

/**
 * Few rows at a time, on keys and values where they lie: for decoding, and for values that are not
 * finite. The orders of sums are those of the tiles. A unit is a pair.
 */
const attentionRows = /*#__PURE__*/ defineRoutine(
  "attentionRows",
  ROW_PARAMETERS,
  (body, args, task) => {
    const scores = body.let(args.scratch.add(task.mul(args.scratchBytes)));
    const sums = body.let(scores.add(args.scoreBytes.mul(ROWS_AT_ONCE)));
    const packed = body.let(sums.add(args.sumBytes.mul(ROWS_AT_ONCE)));
    eachUnit(body, task, args, (unit) => {
      const pair = pairOf(body, unit, args);
      const mask = body.let(maskOf(args.mask, pair, args));
      body.for(0, args.rows, ROWS_AT_ONCE, (first) => {
        const rest = body.let(args.rows.sub(first));
        const count = body.let(rest.minU(I32.const(ROWS_AT_ONCE)));
        const top = placeOf(body, pair, first, args);
        const last = placeOf(body, pair, body.let(first.add(count).sub(1)), args);
        const firstPanel = body.let(panelOf(firstSeen(top.limit, args)));
        const panels = body.let(panelsOf(last.limit).sub(firstPanel));
        const batch = { pair, first, count, firstPanel, panels, mask, scores, sums, packed };
        scoreBatch(body, batch, args);
        raiseBatch(body, batch, args);
        sumValues(body, batch, args);
        storeBatch(body, batch, args);
      });
    });
  },
);

/** Turns the scores of a batch into powers, and keeps what they are divided by before the sums. */
function raiseBatch(body: Body, batch: Batch, args: RowArguments): void {
  eachRow(body, batch, args, (place, index) => {
    const scores = batch.scores.add(index.mul(args.scoreBytes));
    const sink = sinkOf(body, args.sinks, place.head);
    const { greatest, sum } = raiseScores(body, { row: scores, sink }, batch.panels, PANEL_ROW);
    body.if(args.kept, () =>
      keepLogarithm(body, statisticsWord(args.kept, batch.pair, place, args), greatest, sum),
    );
    body.store(batch.sums.add(index.mul(args.sumBytes)), divisor(sum));
  });
}

/** Divides the sums of a batch and stores them. */
function storeBatch(body: Body, batch: Batch, args: RowArguments): void {
  eachRow(body, batch, args, (place, index) => {
    const sums = body.let(batch.sums.add(index.mul(args.sumBytes)));
    const total = body.let(F32x4.load(sums));
    const to = body.let(queryRow(args.y, batch.pair, place, args, args.valueWidth));
    body.for(0, args.valueWidth, 4, (column) => {
      const sum = F32x4.load(wordAt(sums, column), VECTOR);
      const rest = args.valueWidth.sub(column);
      storeLanes(body, wordAt(to, column), body.let(shareOf(sum, total)), body.let(rest));
    });
  });
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
  const panels = panelsOfRows(ROWS_AT_ONCE, shape);
  const perTask = unitsPerTask(rows * panels * PANEL * (width + valueWidth));
  const tasks = Math.ceil(pairs / perTask);
  const scoreBytes = Math.ceil(panels / PANELS_AT_ONCE) * PANELS_AT_ONCE * PANEL_ROW;
  const sumBytes = VECTOR + Math.ceil(valueWidth / 4) * VECTOR;
  const packedBytes = PANELS_AT_ONCE * width * PANEL_ROW;
  const bytes = ROWS_AT_ONCE * (scoreBytes + sumBytes) + packedBytes;
  const scratchBytes = Math.ceil(bytes / LINE) * LINE;
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
      units: pairs,
      perTask,
    },
    tasks,
  );
}

/** The routine of these rows. */
export const rowRoutines: readonly Routine[] = [attentionRows];
