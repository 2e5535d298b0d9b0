import type { Body, Subroutine } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { type Place, type SweepCall, callSweep } from "./sweep.ts";
import { TILE_ROWS } from "./tile.ts";

/** Rows in tiles: `high` of `height` rows, then `low` of `lowHeight`. */
export interface TilePlan {
  readonly high: I32;
  readonly height: I32;
  readonly low: I32;
  readonly lowHeight: I32;
}

/** Rows of a tile where products are not fused: those need one more register. */
const UNFUSED_ROWS = 5;

/** Rows of the tiles that most of a product is computed in. */
export function fullHeight(fused: boolean): number {
  return fused ? TILE_ROWS : UNFUSED_ROWS;
}

/** Tiles of nearly equal height. */
export function planTiles(body: Body, rows: I32): TilePlan {
  const most = fullHeight(body.instructions.fused);
  const tiles = body.let(rows.add(most - 1).divU(most));
  const lowHeight = body.let(rows.divU(tiles));
  const high = body.let(rows.sub(lowHeight.mul(tiles)));
  return { high, height: body.let(lowHeight.add(1)), low: body.let(tiles.sub(high)), lowHeight };
}

/** All tiles of one panel. */
export function addPanel(
  body: Body,
  narrow: readonly Subroutine[],
  { high, height, low, lowHeight }: TilePlan,
  place: Place,
): void {
  body.if(high, () =>
    callHeight(body, narrow, height, { ...place, row: I32.const(0), count: high }),
  );
  const row = high.mul(height);
  body.if(low, () => callHeight(body, narrow, lowHeight, { ...place, row, count: low }));
}

/** Calls the tiles of a height that is known only when it runs. */
export function callHeight(
  body: Body,
  narrow: readonly Subroutine[],
  height: I32,
  given: SweepCall,
): void {
  for (const [index, subroutine] of narrow.entries()) {
    body.if(height.eq(index + 1), () => callSweep(body, subroutine, given));
  }
}
