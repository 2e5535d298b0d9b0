import type { AttentionAttributes } from "@moiety/core";
import type { Body } from "../../../emit/body.ts";
import { I32 } from "../../../emit/scalars.ts";
import { F32x4 } from "../../../emit/vectors.ts";
import type { KernelCall, Operand } from "../../../kernel.ts";
import { type Routine, defineRoutine } from "../../../routine.ts";
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
  pairOf,
  placeOf,
  queryRow,
  statisticsWord,
  unitsPerTask,
} from "./shape.ts";
import { divisor, keepLogarithm, maskOf, panelsOf, shareOf } from "./statistics.ts";

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
        const last = placeOf(body, pair, body.let(first.add(count).sub(1)), args);
        const panels = body.let(panelsOf(last.limit));
        const batch = { pair, first, count, panels, mask, scores, sums, packed };
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
    const { greatest, sum } = raiseScores(body, scores, batch.panels, PANEL_ROW);
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

/** Runs an attention row by row. */
export function launchRows(
  call: KernelCall,
  shape: AttentionShape,
  results: { readonly mask: Operand | undefined; readonly y: number; readonly kept: number },
): void {
  const { pairs, rows, seen, width, valueWidth, panels } = shape;
  const perTask = unitsPerTask(rows * seen * (width + valueWidth));
  const tasks = Math.ceil(pairs / perTask);
  const scoreBytes = Math.ceil(panels / PANELS_AT_ONCE) * PANELS_AT_ONCE * PANEL_ROW;
  const sumBytes = VECTOR + Math.ceil(valueWidth / 4) * VECTOR;
  const packedBytes = PANELS_AT_ONCE * width * PANEL_ROW;
  const bytes = ROWS_AT_ONCE * (scoreBytes + sumBytes) + packedBytes;
  const scratchBytes = Math.ceil(bytes / LINE) * LINE;
  const [q, k, v] = [0, 1, 2].map((index) => call.input(index).address) as [number, number, number];
  const { scale } = call.attributes<AttentionAttributes>();
  call.launch(
    attentionRows,
    {
      ...shape,
      ...results,
      mask: results.mask?.address ?? 0,
      q,
      k,
      v,
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
