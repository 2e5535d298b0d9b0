import { type Shape, sizeOf } from "@moiety/core";
import type { Input, Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Param, read, u32, write } from "../../program.ts";
import { type AxisRange, type Lines, cutAxis, segmentsFor } from "./axis-cuts.ts";
import { BLOCK, FEW_ROWS, PAIR, cutFor } from "./cut.ts";
import { type Factor, alignedLines, factorOf } from "./factor.ts";
import { multiply } from "./product.ts";
import { rowStore } from "./store.ts";
import { multiplyFew } from "./strip.ts";

interface Problem {
  readonly a: Input;
  readonly b: Input;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly rows: number;
  readonly inner: number;
  readonly columns: number;
  /** Axes along which matrices are paired, outermost first. */
  readonly batch: readonly BatchAxis[];
}

interface BatchAxis {
  readonly size: number;
  /** Elements from one left matrix to the next; 0 where it is the same for all. */
  readonly left: number;
  readonly right: number;
}

/** Batched matrix product; either factor may be given transposed. */
export const matmul: Kernel = (call) => {
  const problem = problemOf(call);
  const y = call.make(0);
  const { a, b, rows, batch, transposeA } = problem;
  const few = rows <= FEW_ROWS && batch.length === 0 && !transposeA;
  const blocks = [a.handle, b.handle, y].reduce((sum, handle) => sum + handle.blocks.length, 0);
  const fits = blocks <= call.context.storageBuffers;
  if (!fits && batch.length === 0) multiplyPieces(call, problem, y);
  else if (few && call.context.tiling === "workgroup") multiplyStrips(call, problem, y);
  else multiplyTiles(call, problem, y, WHOLE);
  return [y];
};

function problemOf(call: KernelCall): Problem {
  const { transposeA = false, transposeB = false } = call.attributes<{
    transposeA?: boolean;
    transposeB?: boolean;
  }>();
  const [a, b] = [call.input(0), call.input(1)];
  const { shape } = call.spec(0);
  const columns = shape.at(-1) ?? 1;
  const inner = a.shape.at(transposeA ? -2 : -1) ?? 1;
  // Rows that meet one and the same right factor are one matrix.
  const shared = !transposeA && sizeOf(b.shape.slice(0, -2)) === 1;
  const rows = shared ? sizeOf(shape.slice(0, -1)) : (shape.at(-2) ?? 1);
  const axes = shared ? [] : shape.slice(0, -2);
  const left = batchStrides(a.shape, axes, rows * inner);
  const right = batchStrides(b.shape, axes, inner * columns);
  const batch = collapse(
    axes.map((size, axis) => ({ size, left: left[axis] ?? 0, right: right[axis] ?? 0 })),
  );
  return { a, b, transposeA, transposeB, rows, inner, columns, batch };
}

/** Elements from one matrix to the next along each batch axis, 0 where it is broadcast. */
function batchStrides(shape: Shape, batch: Shape, matrix: number): number[] {
  const own = shape.slice(0, -2);
  const missing = batch.length - own.length;
  let stride = matrix;
  const strides = batch.map(() => 0);
  for (let axis = own.length - 1; axis >= 0; axis--) {
    const size = own[axis] ?? 1;
    strides[axis + missing] = size === 1 ? 0 : stride;
    stride *= size;
  }
  return strides;
}

/** Drops axes of size 1 and joins those that are one run in both factors. */
function collapse(axes: readonly BatchAxis[]): BatchAxis[] {
  const kept: BatchAxis[] = [];
  for (const axis of axes) {
    if (axis.size === 1) continue;
    const outer = kept.at(-1);
    const joined =
      outer !== undefined &&
      outer.left === axis.left * axis.size &&
      outer.right === axis.right * axis.size;
    if (joined) kept[kept.length - 1] = { ...axis, size: outer.size * axis.size };
    else kept.push(axis);
  }
  return kept;
}

/** A part of a product that one dispatch computes. */
interface Piece {
  readonly rows: AxisRange | undefined;
  readonly columns: AxisRange | undefined;
  readonly inner: AxisRange | undefined;
}

const WHOLE: Piece = { rows: undefined, columns: undefined, inner: undefined };

/**
 * Factors and product in so many segments that one kernel cannot bind them: pieces that touch at most
 * two of each. The sums of a piece go on where those of the piece before ended.
 */
function multiplyPieces(call: KernelCall, problem: Problem, y: GpuHandle): void {
  const { a, b, rows, inner, columns, transposeA, transposeB } = problem;
  const left: Lines = { handle: a.handle, elements: transposeA ? rows : inner };
  const right: Lines = { handle: b.handle, elements: transposeB ? inner : columns };
  const product: Lines = { handle: y, elements: columns };
  const byRows = transposeA ? [product] : [product, left];
  const byInner = [...(transposeA ? [left] : []), ...(transposeB ? [] : [right])];
  for (const rowRange of cutAxis(rows, 1, byRows)) {
    for (const columnRange of cutAxis(columns, PAIR, transposeB ? [right] : [])) {
      for (const innerRange of cutAxis(inner, BLOCK, byInner)) {
        multiplyTiles(call, problem, y, {
          rows: rowRange,
          columns: columnRange,
          inner: innerRange,
        });
      }
    }
  }
}

function factorsOf(problem: Problem, forStrips: boolean): { left: Factor; right: Factor } {
  const { a, b, transposeA, transposeB, inner, columns, rows } = problem;
  const [leftLine, rightLine] = [transposeA ? rows : inner, transposeB ? inner : columns];
  const whole = inner % 4 === 0;
  const left = factorOf({
    name: "a",
    dtype: "f32",
    order: transposeA ? "columns" : "rows",
    aligned: alignedLines(a.handle, leftLine),
    whole,
    stride: transposeA ? "params.rows" : "params.inner",
    shift: "leftShift",
    last: "params.rowEnd - 1u",
    origin: "params.innerFirst",
  });
  const right = factorOf({
    name: "b",
    dtype: "f32",
    order: transposeB ? "rows" : "columns",
    // One column alone is no quad.
    aligned: alignedLines(b.handle, rightLine) && (transposeB || !forStrips),
    whole,
    stride: transposeB ? "params.inner" : "params.columns",
    shift: "rightShift",
    last: "params.columnEnd - 1u",
    origin: "params.innerFirst",
  });
  return { left, right };
}

/** Sizes, the piece, and where what is bound of each tensor begins. */
function sizesOf(problem: Problem, y: GpuHandle, piece: Piece): Record<string, Param> {
  const { a, b, rows, inner, columns, transposeA, transposeB } = problem;
  const innerFirst = piece.inner?.first ?? 0;
  const [aLines, bLines] = [
    transposeA ? piece.inner : piece.rows,
    transposeB ? piece.columns : piece.inner,
  ];
  const leftShift = segmentsFor(a.handle, transposeA ? rows : inner, aLines).shift;
  const rightShift = segmentsFor(b.handle, transposeB ? inner : columns, bLines).shift;
  return {
    rows: u32(rows),
    inner: u32(inner),
    columns: u32(columns),
    rowFirst: u32(piece.rows?.first ?? 0),
    rowEnd: u32(piece.rows?.end ?? rows),
    pairFirst: u32((piece.columns?.first ?? 0) / PAIR),
    columnEnd: u32(piece.columns?.end ?? columns),
    innerFirst: u32(innerFirst),
    span: u32((piece.inner?.end ?? inner) - innerFirst),
    // Added modulo 2³², so that they may be negative.
    leftBase: u32((transposeA ? 0 : innerFirst) - leftShift),
    rightBase: u32((transposeB ? innerFirst : 0) - rightShift),
    shift: u32(segmentsFor(y, columns, piece.rows).shift),
  };
}

function multiplyTiles(call: KernelCall, problem: Problem, y: GpuHandle, piece: Piece): void {
  const { a, b, rows, inner, columns, batch, transposeA, transposeB } = problem;
  const { left, right } = factorsOf(problem, false);
  const [height, width] = [sizeOfRange(piece.rows, rows), sizeOfRange(piece.columns, columns)];
  // Lanes share lines, or rows, but not lines beside rows.
  const cut = cutFor(call.context, height, transposeA && transposeB ? 0 : width);
  const rowTiles = Math.ceil(height / cut.rows);
  const matrices = batch.reduce((product, axis) => product * axis.size, 1);
  const store = rowStore("y", y, columns);
  const carried = (piece.inner?.first ?? 0) > 0;
  const params: Record<string, Param> = {
    ...sizesOf(problem, y, piece),
    rowTiles: u32(rowTiles),
  };
  for (const [axis, { size, left: leftStride, right: rightStride }] of batch.entries()) {
    params[`size${axis}`] = u32(size);
    params[`left${axis}`] = u32(leftStride);
    params[`right${axis}`] = u32(rightStride);
  }
  const aLines = segmentsFor(
    a.handle,
    transposeA ? rows : inner,
    transposeA ? piece.inner : piece.rows,
  );
  const bLines = segmentsFor(
    b.handle,
    transposeB ? inner : columns,
    transposeB ? piece.columns : piece.inner,
  );
  multiply(call, {
    name: "matmul",
    variant: `${batch.length};${store.variant};${carried ? "carried" : ""}`,
    cut,
    left,
    right,
    operands: {
      a: { ...read(a.handle, left.type), ...aLines.bound },
      b: { ...read(b.handle, right.type), ...bLines.bound },
      y: { ...store.operand, ...segmentsFor(y, columns, piece.rows).bound },
    },
    params,
    tiles: matrices * rowTiles,
    pairs: Math.ceil(width / PAIR),
    declarations: `${store.declarations}
fn line_of(row: u32) -> u32 { return row * params.columns - params.shift; }`,
    begin: `let matrix = tile / params.rowTiles;
let first = params.rowFirst + (tile % params.rowTiles) * ${cut.rows}u;
let limit = params.rowEnd;
let end = params.span;
${batchText(batch.length)}`,
    columns: (pair) => [
      `(params.pairFirst + ${pair}) * 8u`,
      `(params.pairFirst + ${pair}) * 8u + 4u`,
    ],
    store: `let line = line_of(matrix * params.rows + row);
  let column = (params.pairFirst + pair) * 8u;
  put_y(line, column, params.columns, v0);
  put_y(line, column + 4u, params.columns, v1);`,
    carried: carried ? (row, column) => `get_y(line_of(${row}), ${column})` : undefined,
  });
}

function sizeOfRange(range: AxisRange | undefined, size: number): number {
  return range ? range.end - range.first : size;
}

/** Where the factors of a matrix of the batch begin. */
function batchText(axes: number): string {
  if (axes === 0) return "let leftShift = params.leftBase; let rightShift = params.rightBase;";
  const lines = ["var rest = matrix; var leftShift = 0u; var rightShift = 0u;"];
  for (let axis = axes - 1; axis >= 0; axis--) {
    lines.push(`leftShift += (rest % params.size${axis}) * params.left${axis};`);
    lines.push(`rightShift += (rest % params.size${axis}) * params.right${axis};`);
    lines.push(`rest /= params.size${axis};`);
  }
  return lines.join("\n");
}

function multiplyStrips(call: KernelCall, problem: Problem, y: GpuHandle): void {
  const { a, b, rows, inner, columns } = problem;
  if (rows === 0) return;
  const { left, right } = factorsOf(problem, true);
  multiplyFew(call, {
    name: "matmulFew",
    variant: "",
    rows: 2 ** Math.ceil(Math.log2(rows)),
    left,
    right,
    operands: {
      a: read(a.handle, left.type),
      b: read(b.handle, right.type),
      y: write(y, "f32"),
    },
    params: sizesOf(problem, y, WHOLE),
    items: 1,
    places: columns,
    inner,
    declarations: "",
    begin: `let first = 0u; let limit = params.rows; let end = params.inner;
let leftShift = 0u; let rightShift = 0u;`,
    columns: (place) => [place],
    store: "store_y(row * params.columns + column, v0);",
  });
}
