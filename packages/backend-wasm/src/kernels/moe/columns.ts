import type { Body } from "../../emit/body.ts";
import type { F32, I32 } from "../../emit/scalars.ts";
import { type F32x4, I32x4, vectorConst } from "../../emit/vectors.ts";

/** Columns that a step of a walk takes, where there are so many. */
const WIDE = 4;

/**
 * Walks `count` columns: sixteen at a time, then four. `visit` is given the column, and the number of
 * vectors of four from there on; columns behind the last may be among them.
 */
export function eachColumns(
  body: Body,
  from: I32,
  count: I32,
  visit: (column: I32, vectors: number) => void,
): void {
  const column = body.let(from);
  for (const vectors of [WIDE, 1]) {
    const last = vectors === 1 ? 0 : vectors * 4 - 1;
    body.while(
      () => column.add(last).ltU(count),
      () => {
        visit(column, vectors);
        body.increment(column, vectors * 4);
      },
    );
  }
}

/** A mask of the lanes that are columns, of four from `column` on. */
export function laneMask(body: Body, column: I32, count: I32): I32x4 {
  const lanes = vectorConst(I32x4, [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
  return body.let(I32x4.splat(count.sub(column)).gt(lanes));
}

/** The sum of the four lanes of a local, always in one order. */
export function laneSum(vector: F32x4): F32 {
  return vector
    .lane(0)
    .add(vector.lane(1))
    .add(vector.lane(2).add(vector.lane(3)));
}
