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
  /** The map of tiles behind the order. */
  readonly plan: { readonly handle: GpuHandle; readonly tilesAt: number };
}

/** Sorts the assignments of a call on the device. */
export function sortRows(call: KernelCall, problem: FfnProblem): SortedRows {
  const { rows, experts, indices, inputSize, innerSize, outputSize } = problem;
  const words = (count: number): GpuHandle => call.temporary({ shape: [count], dtype: "i32" });
  const busy = Math.max(1, Math.min(experts, rows));
  const columns = Math.min(inputSize, innerSize, outputSize);
  const cut = cutFor(call.context, Math.ceil(rows / busy), columns);
  // One buffer, since products that read both have few bindings to spare.
  const order = words(rows + tileBound(rows, experts, cut.rows) * TILE_WORDS);
  const sorted: GroupedRows = {
    order,
    inverse: words(rows),
    offsets: words(experts + 1),
    group: words(rows),
  };
  groupAssignments(call, indices.handle, rows, experts, sorted);
  const tiling = { rows, groups: experts, tileRows: cut.rows };
  const plan = { handle: order, tilesAt: rows };
  mapTiles(call, sorted.offsets, tiling, plan);
  return { ...sorted, cut, tiling, plan };
}

/**
 * WGSL: `assignment_of(row)` (A where there is none), `choice_of(row)` and `token_of(row)` (any where
 * there is none), all within bounds for any row. The order is read from the operand `source`.
 */
export const rowText = (source: "order" | "plan"): string => `
fn assignment_of(row: u32) -> u32 { return load_${source}(min(row, params.rows - 1u)); }
fn choice_of(row: u32) -> u32 { return min(assignment_of(row), params.rows - 1u); }
fn token_of(row: u32) -> u32 {
  return min(assignment_of(row) / params.choices, params.tokens - 1u);
}`;

/** {@link rowText} of the operand `order`. */
export const ROW_TEXT: string = /*#__PURE__*/ rowText("order");

/** WGSL: a row's factor from the operand `factors [T, k]`; 0 where the row is not live. */
export const ROW_FACTOR = `
fn factor_of(row: u32) -> f32 {
  let a = assignment_of(row);
  if (a >= params.rows) { return 0.0; }
  return load_factors(a);
}`;
