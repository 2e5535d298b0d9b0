import type { Body } from "../../emit/body.ts";
import type { F32x4 } from "../../emit/vectors.ts";
import type { I32 } from "../../emit/scalars.ts";
import { type FinishedTile, storeRows } from "../products/index.ts";
import { storeTurns } from "./turns.ts";

/** Where sums of the up projection are kept for its backward. */
export interface HiddenPlace {
  /** Address of the first row, and bytes of one. */
  readonly hidden: I32;
  readonly hiddenStride: I32;
  /** I. */
  readonly inner: I32;
  /** Places of the halves' first columns in a row, and the step: 1 or 2. */
  readonly gateFirst: I32;
  readonly upFirst: I32;
  readonly step: I32;
}

/** Keeps the sums of a plain bank. */
export function storePlain(body: Body, tile: FinishedTile, args: HiddenPlace): void {
  const { sums, column, columns } = tile;
  const addresses = sums.map((_, index) =>
    body.let(rowAddress(args.hidden, args.hiddenStride, tile, index).add(column.shl(2))),
  );
  const copies = sums.map((sumsOfRow) => sumsOfRow.map((sum) => body.let(sum)));
  storeRows(body, addresses, copies, columns);
}

/** The halves go where their descriptor has them: in turns, or each by itself. */
export function storeGated(body: Body, tile: FinishedTile, args: HiddenPlace): void {
  const { hidden, hiddenStride, inner, gateFirst, upFirst, step } = args;
  const row = body.let(rowAddress(hidden, hiddenStride, tile, 0));
  const addressesFrom = (start: I32): I32[] => {
    const next = body.let(start);
    return tile.sums.map(() => {
      const address = body.let(next);
      body.increment(next, hiddenStride);
      return address;
    });
  };
  for (let pair = 0; pair < tile.panels; pair++) {
    const column = body.let(tile.column.shrU(1).add(pair * 4));
    const count = body.let(inner.sub(column));
    const halves = tile.sums.map((sumsOfRow) => sumsOfRow.slice(2 * pair, 2 * pair + 2));
    const inTurns = (first: 0 | 1): void => {
      const rows = halves.map((half) => [half[first], half[1 - first]] as [F32x4, F32x4]);
      storeTurns(body, addressesFrom(row.add(column.shl(3))), rows, count);
    };
    const apart = (which: 0 | 1, first: I32): void => {
      const rows = halves.map((half) => [body.let(half[which] as F32x4)]);
      storeRows(body, addressesFrom(row.add(first.add(column).shl(2))), rows, count);
    };
    body.if(
      step.eq(2),
      () =>
        body.if(
          upFirst,
          () => inTurns(0),
          () => inTurns(1),
        ),
      () => {
        apart(0, gateFirst);
        apart(1, upFirst);
      },
    );
  }
}

/** Address of a row of a tile. */
export function rowAddress(base: I32, stride: I32, { row }: FinishedTile, index: number): I32 {
  return base.add(row.add(index).mul(stride));
}
