import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";
import { type FactorDType, loadFour } from "./elements.ts";
import { type JobWords, type PackArguments, masksOf } from "./pack-job.ts";
import { PACKED_STEP_BYTES } from "./tile.ts";

/** How a routine reads and writes. */
export interface Across {
  readonly dtype: FactorDType;
  /** Bytes of one step of k in a panel. */
  readonly stepBytes: number;
  /** Steps of k that are written together, so that lines are written whole. */
  readonly block: number;
  readonly scattered?: boolean;
}

/** Some steps of k at a time, over all panels: rows are read from end to end. */
export function packAcross(body: Body, args: PackArguments, job: JobWords, across: Across): void {
  const { innerBytes, gathered } = args;
  const { stepBytes, block } = across;
  const source = body.let(job.source.add(job.from.mul(innerBytes)));
  const to = body.let(job.to.add(job.from.mul(stepBytes)));
  const take = (count: number): void => {
    const rows = Array.from({ length: count }, () => {
      const row = body.let(source);
      body.if(gathered, () => body.set(row, I32.load(source)));
      body.increment(source, innerBytes);
      return row;
    });
    packSteps(body, args, { ...job, to }, rows, across);
    body.increment(to, stepBytes * count);
  };
  if (block > 1) body.for(0, job.steps.divU(block), 1, () => take(block));
  body.for(0, job.steps.remU(block), 1, () => take(1));
  if (block === 1) body.for(0, job.steps, 1, () => take(1));
}

/** The given rows, each a step of k, in all panels of a job; `to` is where the first goes in the first panel. */
function packSteps(
  body: Body,
  args: PackArguments,
  { inner, to, panel, end }: JobWords,
  rows: readonly I32[],
  across: Across,
): void {
  const { low, high, advance, columnBytes } = args;
  const panelBytes = body.let(inner.mul(across.stepBytes));
  const at = body.let(to.add(panel.mul(panelBytes)));
  const column = body.let(panel.mul(advance));
  const lowFrom = body.let(low.add(column.mul(columnBytes)));
  const highFrom = body.let(high.add(column.mul(columnBytes)));
  const stride = body.let(advance.mul(columnBytes));
  const whole = wholePanels(body, args);
  const pack = (masks: readonly I32x4[]): void => {
    for (const [step, row] of rows.entries()) {
      const [first, second] = [lowFrom, highFrom].map((from, half) => {
        const vector = loadColumns(body, args, row.add(from), across);
        const mask = masks[half];
        return mask ? vector.as(I32x4).and(mask) : vector;
      });
      if (first) body.store(at, first, step * across.stepBytes);
      if (second) storeSecond(body, at, second, step * across.stepBytes, across);
    }
    body.increment(at, panelBytes);
    body.increment(lowFrom, stride);
    body.increment(highFrom, stride);
  };
  const number = body.let(panel);
  body.while(
    () => number.ltU(whole.minU(end)),
    () => {
      pack([]);
      body.increment(number, 1);
    },
  );
  body.while(
    () => number.ltU(end),
    () => {
      pack(masksOf(body, args, body.let(number.mul(advance))));
      body.increment(number, 1);
    },
  );
}

/** Panels whose eight lanes are columns: they come first. */
function wholePanels(body: Body, { highCount, advance }: PackArguments): I32 {
  const whole = highCount.sub(4).div(advance).add(1);
  return body.let(whole.select(highCount.ge(4), I32.const(0)));
}

function loadColumns(
  body: Body,
  { columnBytes }: PackArguments,
  from: I32,
  { dtype, scattered = false }: Across,
): F32x4 {
  if (!scattered) return loadFour(body, dtype, body.let(from));
  const at = body.let(from);
  const vector = body.let(F32x4.const(0));
  for (let lane = 0; lane < 4; lane++) {
    const value = body.let(loadFour(body, dtype, at));
    body.set(vector, vector.withLane(lane, value.lane(0)));
    body.increment(at, columnBytes);
  }
  return vector;
}

/** Lanes 4 … of a step: a tile has two of them. */
function storeSecond(
  body: Body,
  at: I32,
  vector: F32x4 | I32x4,
  offset: number,
  { stepBytes }: Across,
): void {
  if (stepBytes === PACKED_STEP_BYTES) body.storeHalf(at, vector, offset + 16);
  else body.store(at, vector, offset + 16);
}
