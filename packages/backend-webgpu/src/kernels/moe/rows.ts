import type { KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Cut, cutFor } from "../products/cut.ts";
import { type RowTiling, TILE_WORDS, mapTiles, tileBound } from "../products/row-tiles.ts";
import { type GroupedRows, groupAssignments } from "../selection/group-rows.ts";
import type { FfnProblem } from "./problem.ts";

/** Assignments sorted by expert, in the order of core's plan, and cut into tiles. */
export interface SortedRows extends GroupedRows {
  readonly cut: Cut;
  readonly tiling: RowTiling;
  readonly plan: { readonly handle: GpuHandle; readonly tilesAt: number };
}

/** Sorts the assignments of a call on the device. */
export function sortRows(call: KernelCall, problem: FfnProblem): SortedRows {
  const { rows, experts, indices, inputSize, innerSize, outputSize } = problem;
  const words = (count: number): GpuHandle => call.temporary({ shape: [count], dtype: "i32" });
  const sorted: GroupedRows = {
    order: words(rows),
    inverse: words(rows),
    offsets: words(experts + 1),
    group: words(rows),
  };
  groupAssignments(call, indices.handle, rows, experts, sorted);
  const busy = Math.max(1, Math.min(experts, rows));
  const columns = Math.min(inputSize, innerSize, outputSize);
  const cut = cutFor(call.context, Math.ceil(rows / busy), columns);
  const tiling = { rows, groups: experts, tileRows: cut.rows };
  const plan = { handle: words(tileBound(rows, experts, cut.rows) * TILE_WORDS), tilesAt: 0 };
  mapTiles(call, sorted.offsets, tiling, plan);
  return { ...sorted, cut, tiling, plan };
}

/**
 * WGSL: `assignment_of(row)` (A where there is none), `token_of(row)` (any token where there is
 * none), both within bounds for any row.
 */
export const ROW_TEXT = `
fn assignment_of(row: u32) -> u32 { return load_order(min(row, params.rows - 1u)); }
fn token_of(row: u32) -> u32 {
  return min(assignment_of(row) / params.choices, params.tokens - 1u);
}`;

/** WGSL: a row's factor from the operand `factors [T, k]`; 0 where the row is not live. */
export const ROW_FACTOR = `
fn factor_of(row: u32) -> f32 {
  let a = assignment_of(row);
  if (a >= params.rows) { return 0.0; }
  return load_factors(a);
}`;
