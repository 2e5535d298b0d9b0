import type { Body, Subroutine } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { type Place, callSweep } from "./sweep.ts";
import { type LeftLayout, TILE_ROWS } from "./tile.ts";

/** Rows in tiles: `high` of `height` rows, then `low` of `lowHeight`. */
export interface TilePlan {
  readonly high: I32;
  readonly height: I32;
  readonly low: I32;
  readonly lowHeight: I32;
}

/** Tiles of nearly equal height; where the left factor is packed, whole ones and a last one. */
export function planTiles(body: Body, rows: I32, layout: LeftLayout): TilePlan {
  if (layout === "packed") {
    const lowHeight = body.let(rows.remU(TILE_ROWS));
    return {
      high: body.let(rows.divU(TILE_ROWS)),
      height: body.int(TILE_ROWS),
      low: body.let(lowHeight.ne(0)),
      lowHeight,
    };
  }
  const tiles = body.let(rows.add(TILE_ROWS - 1).divU(TILE_ROWS));
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
  const call = (wanted: I32, row: I32, tiles: I32): void => {
    for (const [index, subroutine] of narrow.entries()) {
      body.if(wanted.eq(index + 1), () => callSweep(body, subroutine, place, row, tiles));
    }
  };
  body.if(high, () => call(height, I32.const(0), high));
  body.if(low, () => call(lowHeight, high.mul(height), low));
}
