import type { Body } from "../emit/body.ts";
import type { I32 } from "../emit/scalars.ts";

/** Elements of one task where arrays are walked from end to end. A multiple of 16. */
export const FLAT_GRAIN = 16_384;

/** Tasks for so many elements. */
export function flatTasks(count: number): number {
  return Math.ceil(count / FLAT_GRAIN);
}

/**
 * Walks the elements of one task, `step` at a time, of arrays that have `count`. The last step may
 * reach beyond the end, by less than 16 elements of 4 bytes: buffers have room there.
 */
export function eachFlat(
  body: Body,
  task: I32,
  count: I32,
  step: number,
  visit: (index: I32) => void,
): void {
  const from = body.let(task.mul(FLAT_GRAIN));
  const to = body.let(from.add(FLAT_GRAIN));
  body.set(to, to.minU(count));
  body.for(from, to, step, visit);
}
