import { type LinearAttributes, UnsupportedError, roundsActivations } from "@moiety/core";
import type { Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, type Param, read, u32 } from "../../program.ts";
import { roundNumbers } from "../elementwise/round-blocks.ts";
import { type AxisRange, type Lines, cutAxis, segmentsFor } from "./axis-cuts.ts";
import { codesFactor } from "./codes-factor.ts";
import { scalesType } from "./codes-text.ts";
import { FEW_ROWS, PAIR, cutFor } from "./cut.ts";
import { type Factor, alignedLines, factorOf } from "./factor.ts";
import {
  type HeldWeights,
  heldWeights,
  isCodes,
  lineScales,
  numberBytes,
  scaleBytes,
} from "./held.ts";
import { multiply } from "./product.ts";
import { type RowStore, rowStore } from "./store.ts";
import { multiplyFew } from "./strip.ts";
import { walks } from "./walk.ts";

interface Problem {
  /** `[rows, inner]`, rounded where the format wants it. */
  readonly x: GpuHandle;
  /** `[columns, inner]`. */
  readonly weights: HeldWeights;
  readonly y: GpuHandle;
  readonly rows: number;
  readonly inner: number;
  readonly columns: number;
}

/** A part of the product that one dispatch computes; everything where nothing is given. */
interface Piece {
  readonly rows?: AxisRange | undefined;
  readonly columns?: AxisRange | undefined;
}

/** `linear`: rows times the transpose of one matrix, which is read as it is held. */
export const linear: Kernel = (call) => {
  const { format } = call.attributes<LinearAttributes>();
  const x = call.input(0);
  const weights = heldWeights("linear", call.input(1), call.optional(2), format, call.context.f16);
  const inner = x.shape.at(-1) ?? 0;
  const columns = call.spec(0).shape.at(-1) ?? 0;
  const y = call.make(0);
  if (call.outputSize(0) === 0) return [y];
  const rows = call.outputSize(0) / columns;
  let source = x.handle;
  if (format && roundsActivations(format)) {
    source = call.temporary(x);
    roundNumbers(call, x.handle, x.size, source);
  }
  const problem = { x: source, weights, y, rows, inner, columns };
  for (const piece of piecesOf(call, problem)) multiplyPiece(call, problem, piece);
  return [y];
};

/** The tensors by their lines: along the rows of the product, and along its columns. */
function linesOf({ x, weights, y, inner, columns }: Problem): {
  readonly byRows: readonly Lines[];
  readonly byColumns: readonly Lines[];
} {
  const { handle, held, scales } = weights;
  const byColumns: Lines[] = [{ handle, elements: inner, elementBytes: numberBytes(held) }];
  if (isCodes(held) && scales) {
    const elements = lineScales(held, inner);
    byColumns.push({ handle: scales, elements, elementBytes: scaleBytes(held) });
  }
  return {
    byRows: [
      { handle: x, elements: inner },
      { handle: y, elements: columns },
    ],
    byColumns,
  };
}

/** One piece where all segments can be bound, else pieces that touch at most two of each tensor. */
function piecesOf(call: KernelCall, problem: Problem): readonly Piece[] {
  const { rows, inner, columns } = problem;
  const { byRows, byColumns } = linesOf(problem);
  const all = [...byRows, ...byColumns];
  const blocks = all.reduce((sum, { handle }) => sum + handle.blocks.length, 0);
  if (blocks <= call.context.storageBuffers && columns * inner <= NUMBERED) return [{}];
  requireCountable(problem);
  return cutAxis(rows, 1, byRows, "linear").flatMap((rowRange) =>
    cutAxis(columns, PAIR, byColumns, "linear").map((columnRange) => ({
      rows: rowRange,
      columns: columnRange,
    })),
  );
}

/** Numbers that a kernel can count. */
const NUMBERED = 2 ** 32;

/** Two segments of a matrix must not hold more numbers than can be counted. */
function requireCountable({ weights: { handle, held }, inner, columns }: Problem): void {
  const bound = (2 * handle.segmentBytes) / numberBytes(held);
  if (columns * inner <= NUMBERED || bound <= NUMBERED) return;
  throw new UnsupportedError(
    `linear: a matrix of ${columns} times ${inner} numbers needs smaller pieces: create the backend ` +
      `with segmentBytes of at most ${(NUMBERED * numberBytes(held)) / 2}`,
    "segmentBytes",
    { op: "linear" },
  );
}

/** The factors and what is bound of them. */
interface Bound {
  readonly left: Factor;
  readonly operands: Readonly<Record<string, Operand>>;
  readonly params: Readonly<Record<string, Param>>;
}

function multiplyPiece(call: KernelCall, problem: Problem, piece: Piece): void {
  const { rows, columns } = problem;
  const right = rightFactor(problem);
  const height = piece.rows ? piece.rows.end - piece.rows.first : rows;
  const few =
    (call.context.tiling === "workgroup" && height <= FEW_ROWS) ||
    walks(call.context, right, height);
  const store = rowStore("y", problem.y, few ? 1 : columns);
  const bound = boundOf(problem, piece, right, store);
  const width = piece.columns ? piece.columns.end - piece.columns.first : columns;
  if (few) {
    multiplyFew(call, {
      ...bound,
      name: "linearFew",
      variant: "",
      rows: 2 ** Math.ceil(Math.log2(height)),
      right,
      items: 1,
      places: width,
      inner: problem.inner,
      declarations: "",
      begin: BEGIN("params.rowFirst"),
      columns: (place) => [`params.columnFirst + ${place}`],
      store: "store_y(row * params.columns - params.shift + params.columnFirst + column, v0);",
    });
    return;
  }
  const cut = cutFor(call.context, height, width);
  multiply(call, {
    ...bound,
    name: "linear",
    variant: store.variant,
    cut,
    right,
    tiles: Math.ceil(height / cut.rows),
    pairs: Math.ceil(width / PAIR),
    declarations: store.declarations,
    begin: BEGIN(`params.rowFirst + tile * ${cut.rows}u`),
    columns: (pair) => [
      `params.columnFirst + ${pair} * 8u`,
      `params.columnFirst + ${pair} * 8u + 4u`,
    ],
    store: `let line = row * params.columns - params.shift;
  let column = params.columnFirst + pair * 8u;
  put_y(line, column, params.columns, v0);
  put_y(line, column + 4u, params.columns, v1);`,
  });
}

const BEGIN = (first: string): string =>
  `let first = ${first}; let limit = params.rowEnd; let end = params.inner;`;

/** The weights; whatever is bound of them, their lines are counted from the matrix's first. */
function rightFactor({ weights: { handle, held, native }, inner }: Problem): Factor {
  const common = {
    name: "weights",
    order: "rows",
    aligned: alignedLines(handle, inner),
    whole: inner % 4 === 0,
    last: "params.columnEnd - 1u",
  } as const;
  const shift = "params.weightsShift";
  if (!isCodes(held)) {
    return factorOf({
      ...common,
      dtype: held,
      native,
      stride: "params.inner",
      shift: `0u - ${shift}`,
    });
  }
  const scalesShift = "params.scalesShift";
  return codesFactor({
    ...common,
    format: held,
    width: "params.inner",
    first: "0u",
    shift,
    scalesShift,
  });
}

function boundOf(problem: Problem, piece: Piece, right: Factor, store: RowStore): Bound {
  const { x, weights, rows, inner, columns } = problem;
  const { byRows, byColumns } = linesOf(problem);
  const [xPart, yPart] = byRows.map((lines) => partOf(lines, piece.rows));
  const [weightsPart, scalesPart] = byColumns.map((lines) => partOf(lines, piece.columns));
  const left = factorOf({
    name: "x",
    dtype: "f32",
    order: "rows",
    aligned: alignedLines(x, inner),
    whole: inner % 4 === 0,
    stride: "params.inner",
    shift: "0u - params.xShift",
    last: "params.rowEnd - 1u",
  });
  const { held, scales } = weights;
  const scalesOperand = isCodes(held) &&
    scales && { weightsScales: { ...read(scales, scalesType(held)), ...scalesPart?.bound } };
  return {
    left,
    operands: {
      x: { ...read(x, left.type), ...xPart?.bound },
      weights: { ...read(weights.handle, right.type), ...weightsPart?.bound },
      ...scalesOperand,
      y: { ...store.operand, ...yPart?.bound },
    },
    params: {
      inner: u32(inner),
      columns: u32(columns),
      rowFirst: u32(piece.rows?.first ?? 0),
      rowEnd: u32(piece.rows?.end ?? rows),
      columnFirst: u32(piece.columns?.first ?? 0),
      columnEnd: u32(piece.columns?.end ?? columns),
      shift: u32(yPart?.shift ?? 0),
      xShift: u32(xPart?.shift ?? 0),
      weightsShift: u32(weightsPart?.shift ?? 0),
      scalesShift: u32(scalesPart?.shift ?? 0),
    },
  };
}

function partOf(
  { handle, elements, elementBytes }: Lines,
  range: AxisRange | undefined,
): ReturnType<typeof segmentsFor> {
  return segmentsFor(handle, elements, range, elementBytes);
}
