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
    /** The first panel that the block sees, and how many from there on. */
    readonly firstPanel: I32;
    readonly panels: I32;
    readonly tiles: I32;
    /** Between which of these panels each tile has factors. */
    readonly tileStarts: I32;
    readonly tileEnds: I32;
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
  const { panels, tiles, tileStarts, tileEnds, tileBytes, panelBytes } = sizes;
  const right = body.let(operands.rows);
  const target = body.let(operands.sums.add(sizes.firstPanel.mul(PANEL_BLOCK)));
  const rest = body.let(operands.width);
  body.while(
    () => rest.gt(0),
    () => {
      const [left, to] = [body.let(operands.factors), body.let(target)];
      // A tile begins and ends no sooner than the one before it, and no later than that one ends.
      const [skipped, begun] = [body.int(0), body.int(1)];
      body.for(0, panels, 1, (panel) => {
        body.while(
          () => I32.load(wordAt(tileEnds, skipped)).leU(panel),
          () => body.increment(skipped, 1),
        );
        const isNextBegun = (): I32 =>
          begun.ltU(tiles).and(I32.load(wordAt(tileStarts, begun)).leU(panel));
        body.while(isNextBegun, () => body.increment(begun, 1));
        addOuterProducts(body, {
          left: left.add(skipped.mul(tileBytes)),
          right: right.add(skipped.mul(TILE_ROWS * PANEL_ROW)),
          tiles: body.let(begun.sub(skipped)),
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
