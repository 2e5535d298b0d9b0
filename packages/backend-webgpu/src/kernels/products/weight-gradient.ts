import type { Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, type Param, read, u32, write } from "../../program.ts";
import { PAIR, cutFor } from "./cut.ts";
import { type FactorLayout, NO_LINE, alignedLines, factorOf } from "./factor.ts";
import { WHOLE, bindingsOf, matrixWindows } from "./matrix-windows.ts";
import { multiply } from "./product.ts";
import { rowStore, storePair } from "./store.ts";

/** One side of sums over the rows of a group: a tensor with a line for each row. */
export interface RowSide {
  readonly handle: GpuHandle;
  readonly width: number;
  /** WGSL: the line of a row, or NO_LINE where the row adds nothing (on both sides then). */
  readonly line: (row: string) => string;
  /** WGSL: a factor of the row. */
  readonly scale?: ((row: string) => string) | undefined;
}

/** For each group the sum over its rows of `left[row] ⊗ right[row]`. */
export interface WeightGradientRequest {
  readonly name: string;
  readonly variant: string;
  readonly left: RowSide;
  readonly right: RowSide;
  readonly groups: number;
  readonly output: GpuHandle;
  readonly operands: Readonly<Record<string, Operand>>;
  readonly params: Readonly<Record<string, Param>>;
  /** With `start_of(group)`, the first row of a group; that of the last one's next is its end. */
  readonly declarations: string;
}

/** Queues sums over the rows of groups, in blocks of 64 rows from each group's first. */
export function addOuterProducts(call: KernelCall, request: WeightGradientRequest): void {
  const { left, right, groups, output } = request;
  const [rows, columns] = [left.width, right.width];
  const cut = cutFor(call.context, rows, columns);
  const rowTiles = Math.ceil(rows / cut.rows);
  const [a, b] = [sideFactor("a", "params.height", left), sideFactor("b", "params.columns", right)];
  const store = rowStore("y", output, columns);
  const operands = {
    a: read(left.handle, a.type),
    b: read(right.handle, b.type),
    ...request.operands,
  };
  const windows = matrixWindows(
    [{ handle: output, elements: rows * columns, elementBytes: 4 }],
    groups,
    call.context.storageBuffers - bindingsOf(operands),
  );
  for (const { first, end, parts } of windows) {
    const { segment, segments, shift } = parts[0] ?? WHOLE;
    multiply(call, {
      name: request.name,
      variant: `${request.variant};${store.variant}`,
      cut,
      left: a,
      right: b,
      operands: {
        ...operands,
        y: { ...write(output, store.operand.type, segment), segments },
      },
      params: {
        ...request.params,
        height: u32(rows),
        columns: u32(columns),
        rowTiles: u32(rowTiles),
        groupFirst: u32(first),
        shift: u32(shift),
      },
      tiles: (end - first) * rowTiles,
      pairs: Math.ceil(columns / PAIR),
      declarations: `${request.declarations}\n${store.declarations}`,
      begin: `let owner = params.groupFirst + tile / params.rowTiles;
let first = (tile % params.rowTiles) * ${cut.rows}u;
let limit = params.height;
let start = start_of(owner);
let end = max(start_of(owner + 1u), start) - start;`,
      columns: (pair) => [`${pair} * 8u`, `${pair} * 8u + 4u`],
      store: `let line = (owner * params.height + row) * params.columns - params.shift;
  ${storePair("line")}`,
    });
  }
}

function sideFactor(name: string, stride: string, side: RowSide): ReturnType<typeof factorOf> {
  const layout: FactorLayout = {
    name,
    dtype: "f32",
    order: "columns",
    aligned: alignedLines(side.handle, side.width),
    whole: false,
    stride,
    shift: "0u",
    origin: "start",
    line: side.line,
    scale: side.scale,
  };
  return factorOf(layout);
}

/** `groupedMatmulGradWeights`. */
export const groupedMatmulGradWeights: Kernel = (call) => {
  const { transposed = false } = call.attributes<{ transposed?: boolean }>();
  const [x, dy, offsets] = [call.input(0), call.input(1), call.input(2)];
  const rowIndex = call.optional(3);
  const output = call.make(0);
  const [count = 0, inner = 0] = x.shape;
  const [rows = 0, outer = 0] = dy.shape;
  const picked: RowSide = {
    handle: x.handle,
    width: inner,
    line: (row) => (rowIndex ? `picked(${row})` : row),
  };
  const direct: RowSide = {
    handle: dy.handle,
    width: outer,
    line: (row) => (rowIndex ? `kept(${row})` : row),
  };
  addOuterProducts(call, {
    name: "groupedMatmulGradWeights",
    variant: `${rowIndex ? "picked" : ""};${transposed}`,
    left: transposed ? picked : direct,
    right: transposed ? direct : picked,
    groups: (offsets.shape[0] ?? 1) - 1,
    output,
    operands: {
      offsets: read(offsets.handle, "i32"),
      ...(rowIndex && { rowIndex: read(rowIndex.handle, "i32") }),
    },
    params: { rows: u32(rows), count: u32(count) },
    declarations: `fn start_of(g: u32) -> u32 {
  return min(u32(max(load_offsets(g), 0)), params.rows);
}
${rowIndex ? PICKED : ""}`,
  });
  return [output];
};

/** A row that stands for none is left out on both sides, whatever they hold. */
const PICKED = `
fn picked(row: u32) -> u32 {
  let id = load_rowIndex(row);
  return select(${NO_LINE}, u32(id), id >= 0 && id < i32(params.count));
}
fn kept(row: u32) -> u32 {
  return select(row, ${NO_LINE}, picked(row) == ${NO_LINE});
}`;
