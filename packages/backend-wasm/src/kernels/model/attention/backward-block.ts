import type { Body } from "../../../emit/body.ts";
import { I32 } from "../../../emit/scalars.ts";
import { PANEL, TILE_ROWS } from "../../products/tile.ts";
import { wordAt } from "../../reduction/lanes.ts";
import { type BackwardArguments, type Unit, BLOCK_PANEL, existing } from "./backward-unit.ts";
import { copyColumns } from "./columns.ts";
import { addOuterProducts } from "./scores.ts";
import { PANEL_BLOCK, PANEL_ROW, TILE_BLOCK, placeOf, queryRow } from "./shape.ts";

/** Copies the block's queries and gradients into panels of 8 columns; rows that are not there are 0. */
export function copyBlock(
  body: Body,
  { pair, scratch }: Unit,
  { first, tiles }: { readonly first: I32; readonly tiles: I32 },
  args: BackwardArguments,
): void {
  body.for(0, tiles.mul(TILE_ROWS), 1, (index) => {
    const wanted = body.let(first.add(index));
    const shown = body.let(I32.const(0).sub(wanted.ltU(args.rows)));
    const place = placeOf(body, pair, body.let(existing(wanted, args)), args);
    for (const { from, to, width } of [
      { from: args.q, to: scratch.queries, width: args.width },
      { from: args.gradient, to: scratch.gradients, width: args.valueWidth },
    ]) {
      copyColumns(body, {
        from: queryRow(from, pair, place, args, width),
        to: to.add(index.mul(PANEL_ROW)),
        width,
        step: I32.const(BLOCK_PANEL),
        shown,
      });
    }
  });
}

/** Adds what a block of rows gives to the gradients of keys or values. */
export function addBlock(
  body: Body,
  sizes: {
    readonly panels: I32;
    readonly tiles: I32;
    /** How many of the panels each tile sees: its factors end there. */
    readonly tilePanels: I32;
    readonly tileBytes: I32;
    readonly panelBytes: I32;
  },
  operands: {
    /** Powers or slopes. */
    readonly factors: I32;
    /** Panels of the block's rows. */
    readonly rows: I32;
    readonly sums: I32;
    readonly width: I32;
  },
): void {
  const { panels, tiles, tilePanels, tileBytes, panelBytes } = sizes;
  const [right, target] = [body.let(operands.rows), body.let(operands.sums)];
  const rest = body.let(operands.width);
  body.while(
    () => rest.gt(0),
    () => {
      const [left, to] = [body.let(operands.factors), body.let(target)];
      // A tile sees no less than the one before it.
      const skipped = body.int(0);
      body.for(0, panels, 1, (panel) => {
        body.while(
          () => I32.load(wordAt(tilePanels, skipped)).leU(panel),
          () => body.increment(skipped, 1),
        );
        addOuterProducts(body, {
          left: left.add(skipped.mul(tileBytes)),
          right: right.add(skipped.mul(TILE_ROWS * PANEL_ROW)),
          tiles: body.let(tiles.sub(skipped)),
          tileBytes,
          to,
        });
        body.increment(left, TILE_BLOCK);
        body.increment(to, PANEL_BLOCK);
      });
      body.increment(right, BLOCK_PANEL);
      body.increment(target, panelBytes);
      body.increment(rest, -PANEL);
    },
  );
}
