import type { Body } from "../../../emit/body.ts";
import type { I32 } from "../../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../../emit/vectors.ts";
import { expNormal4 } from "../../functions/index.ts";
import { type Sums, PANEL, TILE_ROWS, addProducts, zeroSums } from "../../products/tile.ts";
import { acrossLanes, lanesBetween, wordAt } from "../../reduction/lanes.ts";
import { LOWEST } from "../rows.ts";
import { type ShapeArguments, PANEL_BLOCK, PANEL_ROW, TILE_BLOCK, firstSeen } from "./shape.ts";
import { panelOf, panelsOf } from "./statistics.ts";

/** Keys whose sums {@link addOuterProducts} holds in registers: with two vectors each. */
const KEYS_AT_ONCE = 4;

/** Rows of a tile against keys. All are locals. */
export interface TileProduct {
  /** Addresses of the rows. */
  readonly rows: readonly I32[];
  /** Address of packed keys: [panel][column][8 keys]. */
  readonly keys: I32;
  readonly width: I32;
  /** How many panels. */
  readonly panels: I32;
}

/** Visits the products of six rows with 8 keys after another. */
export function eachKeyPanel(
  body: Body,
  { rows, keys, width, panels }: TileProduct,
  visit: (panel: I32, sums: Sums) => void,
): void {
  const right = body.let(keys);
  body.for(0, panels, 1, (panel) => {
    const sums = zeroSums(body, { height: TILE_ROWS, panels: 1 });
    const left = rows.map((row) => body.let(row));
    // The address of the keys ends at the next panel.
    addProducts(body, sums, { layout: "rows", left, right: [right] }, width);
    visit(panel, sums);
  });
}

/** Which keys rows see. */
export interface Sight {
  /** For each row, the key behind the last one. */
  readonly limits: readonly I32[];
  /** How many keys a row sees at most. */
  readonly window: I32;
  /** The panel with which the products begin. */
  readonly firstPanel: I32;
  /** The first of the panels that all rows see whole. */
  readonly clearFrom: I32;
  /** How many these are. */
  readonly clearPanels: I32;
  /** Address of the batch's words of the mask; 0 without one. */
  readonly mask: I32;
}

/** What rows see, in ascending order, whose products begin with the panel of their first key. */
export function sightOf(
  body: Body,
  rows: {
    readonly limits: readonly I32[];
    readonly mask: I32;
    /** Whether all of them are there, and no key is hidden. */
    readonly isWhole: I32;
  },
  { window }: Pick<ShapeArguments, "window">,
): Sight {
  const { limits, mask, isWhole } = rows;
  const [first, last] = [limits[0] ?? missing(), limits.at(-1) ?? missing()];
  const clearFrom = body.let(panelsOf(firstSeen(last, { window })));
  const clearTo = body.let(panelOf(first));
  return {
    limits,
    window,
    firstPanel: body.let(panelOf(firstSeen(first, { window }))),
    clearFrom,
    clearPanels: body.let(clearTo.sub(clearFrom.minU(clearTo)).select(isWhole, 0)),
    mask,
  };
}

/** Stores scores, 8 keys of each row after the other; hidden ones become {@link LOWEST}. */
export function storeScores(body: Body, to: I32, scores: Sums, panel: I32, sight: Sight): void {
  const { limits, clearPanels, mask } = sight;
  const number = body.let(sight.firstPanel.add(panel));
  const storeAll = (change: (vector: F32x4, row: number, half: number) => F32x4): void => {
    for (const [row, vectors] of scores.entries()) {
      for (const [half, vector] of vectors.entries()) {
        body.store(to, change(vector, row, half), row * PANEL_ROW + half * 16);
      }
    }
  };
  body.if(
    number.sub(sight.clearFrom).ltU(clearPanels),
    () => storeAll((vector) => vector),
    () => {
      const first = body.let(number.mul(PANEL));
      const shown = [0, 1].map((half) => {
        const all = body.let(I32x4.const(-1));
        body.if(mask, () => {
          const words = I32x4.load(wordAt(mask, first), half * 16);
          body.set(all, words.ne(I32x4.const(0)));
        });
        return all;
      });
      storeAll((vector, row, half) => {
        const limit = limits[row] ?? missing();
        const start = first.add(half * 4);
        const inside = lanesBetween(firstSeen(limit, sight).sub(start), limit.sub(start));
        return inside.and(shown[half] ?? missing()).choose(vector, F32x4.const(LOWEST));
      });
    },
  );
}

/** What the shares of a row were made with, each in every lane of a local. */
export interface RowStatistics {
  readonly greatest: F32x4;
  /** 0 where the row sees neither a key nor a sink. */
  readonly sum: F32x4;
}

/**
 * Turns a row's scores into e^(score − greatest), in place: 8 at `row`, the next 8 at `row + stride`.
 * The power of the sink counts in the sum. The order of the sum does not depend on the stride, nor on
 * hidden scores before the first one and behind the last one.
 */
export function raiseScores(
  body: Body,
  { row, sink }: { readonly row: I32; readonly sink: F32x4 },
  panels: I32,
  stride: number,
): RowStatistics {
  const tops = [0, 1].map(() => body.let(F32x4.const(LOWEST)));
  const [top = missing(), other = missing()] = tops;
  const at = body.let(row);
  body.for(0, panels, 1, () => {
    for (const [half, vector] of tops.entries()) {
      body.set(vector, vector.pmax(F32x4.load(at, half * 16)));
    }
    body.increment(at, stride);
  });
  body.set(top, top.pmax(other));
  const greatest = acrossLanes(body, top, F32x4, (a, b) => a.pmax(b));
  body.set(greatest, greatest.pmax(sink));
  // A row without keys and sink: LOWEST less the greatest float is −∞, whose power is 0.
  const nothing = greatest.eq(F32x4.const(LOWEST));
  const shift = body.let(nothing.choose(F32x4.const(-LOWEST), greatest));
  const sums = [0, 1].map(() => body.let(F32x4.const(0)));
  const [sum = missing(), second = missing()] = sums;
  body.set(at, row);
  body.for(0, panels, 1, () => {
    for (const [half, total] of sums.entries()) {
      const power = body.let(expNormal4(body, F32x4.load(at, half * 16).sub(shift)));
      body.store(at, power, half * 16);
      body.set(total, total.add(power));
    }
    body.increment(at, stride);
  });
  body.set(sum, sum.add(second));
  const all = acrossLanes(body, sum, F32x4, (a, b) => a.add(b));
  body.set(all, all.add(expNormal4(body, sink.sub(shift))));
  return { greatest, sum: all };
}

/**
 * Sums over keys of a tile's shares, [panel][row][8 keys], times a panel of columns, [key][8 columns];
 * in ascending order of keys.
 */
export function sumOverKeys(body: Body, shares: I32, columns: I32, panels: I32): Sums {
  const sums = zeroSums(body, { height: TILE_ROWS, panels: 1 });
  const [left, right] = [body.let(shares), body.let(columns)];
  body.for(0, panels, 1, () => {
    for (let key = 0; key < PANEL; key++) {
      const vectors = [0, 1].map((half) =>
        body.let(F32x4.load(right, key * PANEL_ROW + half * 16)),
      );
      for (const [row, sumsOfRow] of sums.entries()) {
        const share = body.let(F32x4.loadSplat(left, row * PANEL_ROW + key * 4));
        for (const [half, sum] of sumsOfRow.entries()) {
          body.set(sum, body.madd(share, vectors[half] ?? missing(), sum));
        }
      }
    }
    body.increment(left, TILE_BLOCK);
    body.increment(right, PANEL_BLOCK);
  });
  return sums;
}

/**
 * Adds to 8 keys' sums, [key][8 columns], the products of their factors in each row, [panel][row][8
 * keys] tile by tile, with the row's columns, [row][8 columns]; in ascending order of rows.
 */
export function addOuterProducts(
  body: Body,
  sizes: {
    readonly left: I32;
    readonly right: I32;
    readonly tiles: I32;
    /** From one tile of the left to the next. */
    readonly tileBytes: I32;
    readonly to: I32;
  },
): void {
  const { tiles, tileBytes, to } = sizes;
  for (let first = 0; first < PANEL; first += KEYS_AT_ONCE) {
    const sums = Array.from({ length: KEYS_AT_ONCE }, (_, key) =>
      [0, 1].map((half) => body.let(F32x4.load(to, (first + key) * PANEL_ROW + half * 16))),
    );
    const [left, right] = [body.let(sizes.left), body.let(sizes.right)];
    body.for(0, tiles, 1, () => {
      for (let row = 0; row < TILE_ROWS; row++) {
        const vectors = [0, 1].map((half) =>
          body.let(F32x4.load(right, row * PANEL_ROW + half * 16)),
        );
        for (const [key, sumsOfKey] of sums.entries()) {
          const factor = body.let(F32x4.loadSplat(left, row * PANEL_ROW + (first + key) * 4));
          for (const [half, sum] of sumsOfKey.entries()) {
            body.set(sum, body.madd(factor, vectors[half] ?? missing(), sum));
          }
        }
      }
      body.increment(left, tileBytes);
      body.increment(right, TILE_ROWS * PANEL_ROW);
    });
    for (const [key, sumsOfKey] of sums.entries()) {
      for (const [half, sum] of sumsOfKey.entries()) {
        body.store(to, sum, (first + key) * PANEL_ROW + half * 16);
      }
    }
  }
}

function missing(): never {
  throw new TypeError("a tile has no such row");
}
