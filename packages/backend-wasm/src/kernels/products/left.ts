import type { KernelCall } from "../../kernel.ts";
import { launchPack, launchPackTiles } from "./pack.ts";
import type { PackMatrix } from "./pack-job.ts";
import { plainLayout } from "./right.ts";
import { PACKED_STEP_BYTES, PANEL, PANEL_ROW_BYTES, TILE_ROWS } from "./tile.ts";

/**
 * A factor that is read across: for each step of k there is a row of `rows` floats in memory, which
 * are the rows of the product where it is the left factor, its columns where it is the right one.
 */
export interface ColumnFactor {
  /** For each matrix its address, or that of its first entry in a table of rows' addresses, and its K. */
  readonly matrices: readonly { readonly source: number; readonly inner: number }[];
  readonly rows: number;
  /** Bytes from one k to the next; 4 in a table. */
  readonly stride: number;
  readonly gathered: boolean;
}

/** Packs a left factor in tiles, for this call; the addresses of its matrices. */
export function packTiles(call: KernelCall, factor: ColumnFactor): number[] {
  const { matrices, rows, stride, gathered } = factor;
  const panels = Math.ceil(rows / TILE_ROWS);
  const laidOut = layOut(call, matrices, panels, PACKED_STEP_BYTES);
  const layout = plainLayout(rows, 4, stride, TILE_ROWS);
  launchPackTiles(call, laidOut, { ...layout, gathered: gathered ? 1 : 0 });
  return laidOut.map(({ to }) => to);
}

/** Packs a right factor in panels, for this call; the addresses of its matrices. */
export function packPanels(call: KernelCall, factor: ColumnFactor): number[] {
  const { matrices, rows, stride, gathered } = factor;
  const laidOut = layOut(call, matrices, Math.ceil(rows / PANEL), PANEL_ROW_BYTES);
  const layout = plainLayout(rows, 4, stride, PANEL);
  launchPack(call, "f32", laidOut, { ...layout, gathered: gathered ? 1 : 0 });
  return laidOut.map(({ to }) => to);
}

/** Room for the panels of matrices of unlike K. */
function layOut(
  call: KernelCall,
  matrices: ColumnFactor["matrices"],
  panels: number,
  stepBytes: number,
): PackMatrix[] {
  const steps = matrices.reduce((sum, { inner }) => sum + inner, 0);
  let to = call.temporary(steps * panels * stepBytes);
  return matrices.map(({ source, inner }) => {
    const matrix = { source, inner, to, panels };
    to += inner * panels * stepBytes;
    return matrix;
  });
}
