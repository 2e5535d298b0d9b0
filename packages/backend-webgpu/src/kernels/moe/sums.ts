import type { KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, read, u32, write } from "../../program.ts";
import { BLOCK } from "../products/cut.ts";
import { rowParams } from "./parts.ts";
import type { FfnProblem } from "./problem.ts";

/** A dot product for each assignment that has a row. WGSL sees its row, its token and an index. */
interface Dot {
  /** Length of the products. */
  readonly width: number;
  readonly operands: Readonly<Record<string, Operand>>;
  readonly term: (row: string, token: string, i: string) => string;
}

/** Dot products, summed in blocks of 64; `extra` adds another one. */
export interface DotRequest extends Dot {
  readonly name: string;
  /** `[A]`: the row of each assignment; A where it has none, and the result is 0. */
  readonly inverse: GpuHandle;
  readonly extra?: Dot | undefined;
  /** `[T, k]`. */
  readonly target: GpuHandle;
}

/** One invocation an assignment. */
export function dotChoices(call: KernelCall, problem: FfnProblem, request: DotRequest): void {
  const { name, inverse, width, operands, term, extra, target } = request;
  const { rows } = problem;
  const sum = (length: string, one: string): string => `
for (var block = 0u; block < ${length}; block += ${BLOCK}u) {
  var s = 0.0;
  for (var i = block; i < min(block + ${BLOCK}u, ${length}); i++) { s += ${one}; }
  total += s;
}`;
  call.dispatch(
    {
      name,
      variant: extra ? "extra" : "",
      operands: {
        ...operands,
        ...extra?.operands,
        inverse: read(inverse, "u32"),
        y: write(target, "f32"),
      },
      params: {
        ...rowParams(problem),
        width: u32(width),
        ...(extra && { extra: u32(extra.width) }),
      },
      text: () => ({
        main: `if (index >= params.rows) { return; }
let row = load_inverse(index);
if (row >= params.rows) { store_y(index, 0.0); return; }
let token = index / params.choices;
var total = 0.0;
${sum("params.width", term("row", "token", "i"))}
${extra ? sum("params.extra", extra.term("row", "token", "i")) : ""}
store_y(index, total);`,
      }),
    },
    { invocations: rows },
  );
}

/** Columns summed over the rows of each group. WGSL sees a row and a column. */
export interface GroupSumRequest {
  readonly name: string;
  readonly groups: number;
  readonly width: number;
  /** `[groups + 1]`. */
  readonly offsets: GpuHandle;
  readonly operands: Readonly<Record<string, Operand>>;
  readonly declarations: string;
  readonly term: (row: string, column: string) => string;
  /** `[groups, width]`. */
  readonly target: GpuHandle;
}

/** One invocation a group and column, in blocks of 64 rows. */
export function sumGroups(call: KernelCall, problem: FfnProblem, request: GroupSumRequest): void {
  const { name, groups, width, offsets, operands, declarations, term, target } = request;
  call.dispatch(
    {
      name,
      operands: { ...operands, offsets: read(offsets, "u32"), y: write(target, "f32") },
      params: { ...rowParams(problem), width: u32(width), count: u32(groups * width) },
      text: () => ({
        declarations,
        main: `if (index >= params.count) { return; }
let owner = index / params.width;
let column = index % params.width;
let start = min(load_offsets(owner), params.rows);
let end = min(load_offsets(owner + 1u), params.rows);
var total = 0.0;
for (var block = start; block < end; block += ${BLOCK}u) {
  var s = 0.0;
  for (var row = block; row < min(block + ${BLOCK}u, end); row++) { s += ${term("row", "column")}; }
  total += s;
}
store_y(index, total);`,
      }),
    },
    { invocations: groups * width },
  );
}
