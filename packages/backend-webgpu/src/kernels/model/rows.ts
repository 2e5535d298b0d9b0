import type { GpuContext } from "../../context.ts";
import type { Extent } from "../../kernel.ts";
import { WORKGROUP } from "../../program.ts";

/** From this width on a row is shared by the lanes of a workgroup. */
const SHARED_WIDTH = 33;
/** From this width on by those of a large one. */
const WIDE_WIDTH = 2049;

/**
 * How rows are reduced: by one invocation each, or by a workgroup of 64 or 256. One text serves all:
 * it walks `for (var i = lane; i < width; i += LANES)` and joins what its lanes have found with
 * `row_sum` and `row_max`. The choice depends on the row's width alone, and so do the bits.
 */
export interface RowPlan {
  readonly lanes: number;
  readonly workgroupSize: number;
  /** Of `LANES`, `row_sum` and `row_max`. */
  readonly declarations: string;
  /** Begins the entry point: `row` (below `params.rows`) and `lane`. */
  readonly begin: string;
  extent(rows: number): Extent;
}

/** The plan for rows of a width; `lanes` overrides the choice. */
export function planRows(context: GpuContext, width: number, lanes?: number): RowPlan {
  const chosen = lanes ?? lanesFor(context, width);
  if (chosen === 1) {
    return {
      lanes: 1,
      workgroupSize: WORKGROUP,
      declarations: ALONE,
      begin: "let row = index; let lane = 0u;\nif (row >= params.rows) { return; }",
      extent: (rows) => ({ invocations: rows }),
    };
  }
  return {
    lanes: chosen,
    workgroupSize: chosen,
    declarations: together(chosen),
    begin: "let row = group; let lane = lid;\nif (row >= params.rows) { return; }",
    extent: (rows) => ({ groups: rows }),
  };
}

/** Barriers cost more than they bring where no hardware does the work. */
function lanesFor({ tiling }: GpuContext, width: number): number {
  if (tiling === "registers" || width < SHARED_WIDTH) return 1;
  return width < WIDE_WIDTH ? 64 : 256;
}

const ALONE = `
const LANES = 1u;
fn row_sum(lane: u32, value: f32) -> f32 { return value; }
fn row_max(lane: u32, value: f32) -> f32 { return value; }
fn row_settle() {}
`;

/** Two steps of √lanes values each, in ascending order, with one barrier after each. */
function together(lanes: number): string {
  const step = Math.sqrt(lanes);
  const join = (name: string, start: string, combine: (a: string, b: string) => string): string => `
fn ${name}(lane: u32, value: f32) -> f32 {
  row_values[lane] = value;
  workgroupBarrier();
  if (lane < ${step}u) {
    var part = ${start};
    for (var i = 0u; i < ${step}u; i++) {
      let other = row_values[lane * ${step}u + i];
      part = ${combine("part", "other")};
    }
    row_parts[lane] = part;
  }
  workgroupBarrier();
  var all = ${start};
  for (var i = 0u; i < ${step}u; i++) {
    let other = row_parts[i];
    all = ${combine("all", "other")};
  }
  return all;
}`;
  return `
const LANES = ${lanes}u;
var<workgroup> row_values: array<f32, ${lanes}>;
var<workgroup> row_parts: array<f32, ${step}>;
${join("row_sum", "0.0", (a, b) => `${a} + ${b}`)}
${join("row_max", "-3.4028234663852886e38", (a, b) => `max(${a}, ${b})`)}
fn row_settle() { storageBarrier(); }
`;
}

/**
 * Adds `term` (which may use `i`) up over a lane's part of a row, in blocks of 64, into a new
 * variable. `skip` says for which i there is no term.
 */
export function laneSum(
  variable: string,
  width: string,
  term: string,
  { before = "", skip = "false" }: { readonly before?: string; readonly skip?: string } = {},
): string {
  return `
var ${variable} = 0.0;
for (var start = lane; start < ${width}; start += LANES * 64u) {
  let stop = min(${width}, start + LANES * 64u);
  var part = 0.0;
  for (var i = start; i < stop; i += LANES) {
    if (${skip}) { continue; }
    ${before}
    part += ${term};
  }
  ${variable} += part;
}`;
}
