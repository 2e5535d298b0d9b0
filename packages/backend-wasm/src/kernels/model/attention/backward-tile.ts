import type { Body } from "../../../emit/body.ts";
import type { I32 } from "../../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../../emit/vectors.ts";
import { expNormal4 } from "../../functions/index.ts";
import { storeRows } from "../../products/store.ts";
import { PANEL, TILE_ROWS } from "../../products/tile.ts";
import { wordAt } from "../../reduction/lanes.ts";
import { rowSum, splat } from "../rows.ts";
import { type BackwardArguments, type Unit, existing } from "./backward-unit.ts";
import {
  type Sight,
  type TileProduct,
  eachKeyPanel,
  sightOf,
  storeScores,
  sumOverKeys,
} from "./scores.ts";
import {
  type Pair,
  type RowPlace,
  PANEL_BLOCK,
  PANEL_ROW,
  TILE_BLOCK,
  placeOf,
  queryRow,
  statisticsWord,
} from "./shape.ts";
import { panelsOf } from "./statistics.ts";

/** A tile of a block. */
export interface Tile {
  /** The first row of the block. */
  readonly first: I32;
  /** The first panel that the block sees. */
  readonly firstPanel: I32;
  /** Its number in the block. */
  readonly tile: I32;
  /** Bytes of a tile's powers or slopes. */
  readonly tileBytes: I32;
  readonly panelBytes: I32;
}

/** The rows of a tile, and where what is made of them goes. */
interface TileRows {
  readonly firstRow: I32;
  readonly rows: readonly {
    readonly place: RowPlace;
    readonly isThere: I32;
    readonly limit: I32;
  }[];
  readonly sight: Sight;
  /** Panels from the first that the first row sees to the last that the last one does. */
  readonly panels: I32;
  readonly powers: I32;
  readonly slopes: I32;
}

/** Powers and slopes of six rows, and the gradients of their queries. */
export function differentiateTile(
  body: Body,
  unit: Unit,
  tile: Tile,
  args: BackwardArguments,
): void {
  const { pair, scratch } = unit;
  const { width, valueWidth } = args;
  const { firstRow, rows, sight, panels, powers, slopes } = tileRows(body, unit, tile, args);
  const keysFrom = (base: I32, columns: I32): I32 =>
    base.add(sight.firstPanel.mul(columns).mul(PANEL_ROW));
  const scale = splat(body, args.scale);
  const addresses = (base: I32, columns: I32): I32[] =>
    rows.map(({ place }) => body.let(queryRow(base, pair, place, args, columns)));
  const to = body.let(powers);
  const keys = keysFrom(unit.keysAcross, width);
  const product = { rows: addresses(args.q, width), keys, width, panels };
  eachKeyPanel(body, product, (panel, sums) => {
    for (const vector of sums.flat()) body.set(vector, vector.mul(scale));
    storeScores(body, to, sums, panel, sight);
    body.increment(to, TILE_BLOCK);
  });
  const { products } = scratch;
  raiseAgain(body, { pair, firstRow, powers, panels, products }, args);
  const outer = {
    rows: addresses(args.gradient, valueWidth),
    keys: keysFrom(unit.valuesAcross, valueWidth),
    width: valueWidth,
    panels,
  };
  storeSlopes(body, { product: outer, products, scale, powers, slopes });
  storeEnds(body, scratch, tile, { start: sight.firstPanel.sub(tile.firstPanel), panels });
  const targets = rows.map(({ place, isThere }) =>
    body.let(queryRow(args.dq, pair, place, args, width).select(isThere, scratch.nowhere)),
  );
  const { panelBytes } = tile;
  const columns = unit.keyColumns.add(sight.firstPanel.mul(PANEL_BLOCK));
  storeQueries(body, { targets, slopes, columns, panels, panelBytes }, args);
}

/** Stores where the panels begin and end that a tile sees. */
function storeEnds(
  body: Body,
  { tileStarts, tileEnds }: Unit["scratch"],
  { tile }: Tile,
  { start, panels }: { readonly start: I32; readonly panels: I32 },
): void {
  body.store(wordAt(tileStarts, tile), start);
  body.store(wordAt(tileEnds, tile), start.add(panels));
}

/** Rows that are not there stand for the last one, and see no key. */
function tileRows(
  body: Body,
  { pair, scratch, mask }: Unit,
  tile: Tile,
  args: BackwardArguments,
): TileRows {
  const firstRow = body.let(tile.first.add(tile.tile.mul(TILE_ROWS)));
  const rows = Array.from({ length: TILE_ROWS }, (_, index) => {
    const wanted = body.let(firstRow.add(index));
    const place = placeOf(body, pair, body.let(existing(wanted, args)), args);
    const isThere = body.let(wanted.ltU(args.rows));
    return { place, isThere, limit: body.let(place.limit.mul(isThere)) };
  });
  const last = rows.at(-1) ?? missing();
  const limits = rows.map(({ limit }) => limit);
  const isWhole = args.mask.eq(0).and(last.isThere);
  const sight = sightOf(body, { limits, mask, isWhole }, args);
  const start = sight.firstPanel.sub(tile.firstPanel);
  const offset = body.let(tile.tile.mul(tile.tileBytes).add(start.mul(TILE_BLOCK)));
  return {
    firstRow,
    rows,
    sight,
    panels: body.let(panelsOf(last.place.limit).sub(sight.firstPanel)),
    powers: body.let(scratch.powers.add(offset)),
    slopes: body.let(scratch.slopes.add(offset)),
  };
}

/**
 * Turns scores into e^(score − logarithm of the row's sum), in place. Stores the product of each row's
 * output with its gradient.
 */
function raiseAgain(
  body: Body,
  tile: {
    readonly pair: Pair;
    readonly firstRow: I32;
    readonly powers: I32;
    readonly panels: I32;
    readonly products: I32;
  },
  args: BackwardArguments,
): void {
  const { pair, firstRow, powers, panels, products } = tile;
  body.for(0, TILE_ROWS, 1, (index) => {
    const row = body.let(existing(body.let(firstRow.add(index)), args));
    const place = placeOf(body, pair, row, args);
    const logarithm = body.let(F32x4.loadSplat(statisticsWord(args.kept, pair, place, args)));
    const at = body.let(powers.add(index.mul(PANEL_ROW)));
    body.for(0, panels, 1, () => {
      for (const offset of [0, 16]) {
        const score = F32x4.load(at, offset).sub(logarithm);
        body.store(at, expNormal4(body, score), offset);
      }
      body.increment(at, TILE_BLOCK);
    });
    const [output, gradient] = [args.output, args.gradient].map((base) =>
      body.let(queryRow(base, pair, place, args, args.valueWidth)),
    ) as [I32, I32];
    const product = rowSum(body, args.valueWidth, (column) =>
      F32x4.load(wordAt(output, column)).mul(F32x4.load(wordAt(gradient, column))),
    );
    body.store(wordAt(products, index), product.lane(0));
  });
}

/** Stores power · (gradient · value − output · gradient) · scale for each row and key. */
function storeSlopes(
  body: Body,
  tile: {
    readonly product: TileProduct;
    readonly products: I32;
    readonly scale: F32x4;
    readonly powers: I32;
    readonly slopes: I32;
  },
): void {
  const { product, products, scale } = tile;
  const [powers, slopes] = [body.let(tile.powers), body.let(tile.slopes)];
  eachKeyPanel(body, product, (_, sums) => {
    for (const [row, vectors] of sums.entries()) {
      for (const [half, vector] of vectors.entries()) {
        const offset = row * PANEL_ROW + half * 16;
        const slope = vector.sub(F32x4.loadSplat(products, row * 4)).mul(scale);
        const power = body.let(F32x4.load(powers, offset));
        // What a row does not see may be no number.
        const seen = power.ne(F32x4.const(0));
        body.store(slopes, seen.and(slope.mul(power).as(I32x4)), offset);
      }
    }
    body.increment(powers, TILE_BLOCK);
    body.increment(slopes, TILE_BLOCK);
  });
}

/** Sums over keys for the gradients of six queries. */
function storeQueries(
  body: Body,
  tile: {
    readonly targets: readonly I32[];
    readonly slopes: I32;
    readonly columns: I32;
    readonly panels: I32;
    readonly panelBytes: I32;
  },
  { width }: BackwardArguments,
): void {
  const columns = body.let(tile.columns);
  const rest = body.let(width);
  body.while(
    () => rest.gt(0),
    () => {
      const sums = sumOverKeys(body, tile.slopes, columns, tile.panels);
      storeRows(body, tile.targets, sums, rest);
      for (const target of tile.targets) body.increment(target, PANEL_ROW);
      body.increment(columns, tile.panelBytes);
      body.increment(rest, -PANEL);
    },
  );
}

function missing(): never {
  throw new TypeError("a tile has no rows");
}
