import { type QuantizedFormat, quantizedFormats } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import type { KernelCall, Operand } from "../../kernel.ts";
import { BLOCK, CODE_KINDS } from "./codes.ts";

/** Columns of a panel. */
export const PANEL = 8;

/** Matrices of `inner` × `columns` numbers that are held in a format, as the right factor of products. */
export interface CodesMatrix {
  readonly format: QuantizedFormat;
  readonly codes: Operand;
  readonly scales: Operand;
  readonly matrices: number;
  /** K. */
  readonly inner: number;
  /** Columns that are stored. */
  readonly stored: number;
  /** Whether a stored row holds the columns of one k; else it holds the ks of one column. */
  readonly transposed: boolean;
  /** Columns of a product, of each kind where there are two. */
  readonly columns: number;
  /** From one column of a kind to the next: 1, or 2 where kinds take turns. */
  readonly step: number;
  /**
   * The stored columns with which two kinds begin, such as gates and what they gate: then lanes
   * 0 … 3 of panel p hold columns 4p … 4p + 3 of the first kind, and lanes 4 … 7 those of the second.
   */
  readonly kinds?: readonly [first: number, second: number] | undefined;
}

/** Panels of one matrix. */
export function panelsOf({ columns, kinds }: CodesMatrix): number {
  return Math.ceil(columns / (kinds ? PANEL / 2 : PANEL));
}

/** Codes of a panel lie in blocks of {@link BLOCK} ks; bytes of one block. */
export function blockBytes(format: QuantizedFormat): number {
  return (BLOCK * PANEL) / quantizedFormats[format].codesPerByte;
}

/** Blocks of a panel. */
export function blocksOf({ inner }: CodesMatrix): number {
  return Math.ceil(inner / BLOCK);
}

/** What routines must know of matrices, in memory as words, in this order. */
const WORDS = [
  /** One of {@link CODE_KINDS}. */
  "kind",
  /** Bytes of codes from one matrix to the next. */
  "matrixBytes",
  /** Codes from one stored column to the next, and from one k to the next. */
  "columnCodes",
  "innerCodes",
  /** Stored columns that lanes 0 … 3 and 4 … 7 of the first panel begin with. */
  "low",
  "high",
  /** How many columns lanes 4 … 7 are ahead of lanes 0 … 3. */
  "ahead",
  "step",
  /** Columns of each kind, and those from one panel to the next. */
  "columns",
  "advance",
  /** K. */
  "inner",
  /** Not 0: a stored row holds the columns of one k. */
  "transposed",
  /** Address of the scales, bytes from one matrix to the next and from one stored row to the next. */
  "scales",
  "scalesMatrix",
  "scalesRow",
  /** Bytes from the scale of one block of a stored row to the next; 0 where all of it has one. */
  "scaleStep",
  /** Not 0: scales are exponents of one byte. */
  "exponents",
  /** Bytes of one block of a panel. */
  "blockBytes",
] as const;

/** What routines must know of matrices: bytes, counts and flags. */
export type Word = (typeof WORDS)[number];

/** A word of the matrices at an address. */
export function matrixWord(body: Body, matrix: I32, word: Word): I32 {
  return body.let(I32.load(matrix, WORDS.indexOf(word) * 4));
}

/** Blocks of a panel of the matrices at an address. */
export function blocksWord(body: Body, matrix: I32): I32 {
  const inner = matrixWord(body, matrix, "inner");
  return body.let(inner.add(BLOCK - 1).divU(BLOCK));
}

/** Writes what routines must know of matrices, for this call; its address. */
export function writeMatrix(call: KernelCall, matrix: CodesMatrix): number {
  const { format, scales, inner, stored, transposed, columns, step, kinds } = matrix;
  const { codesPerByte, block } = quantizedFormats[format];
  const [rows, width] = transposed ? [inner, stored] : [stored, inner];
  const scaleBytes = scales.dtype === "u8" ? 1 : 4;
  const scalesRow = block === undefined ? scaleBytes : (scaleBytes * width) / block;
  const [low, high] = kinds ?? [0, 0];
  const words: Readonly<Record<Word, number>> = {
    kind: CODE_KINDS[format],
    matrixBytes: (rows * width) / codesPerByte,
    columnCodes: transposed ? 1 : width,
    innerCodes: transposed ? width : 1,
    low,
    high,
    ahead: kinds ? 0 : PANEL / 2,
    step,
    columns,
    advance: kinds ? PANEL / 2 : PANEL,
    inner,
    transposed: transposed ? 1 : 0,
    scales: scales.address,
    scalesMatrix: rows * scalesRow,
    scalesRow,
    scaleStep: block === undefined ? 0 : scaleBytes,
    exponents: scaleBytes === 1 ? 1 : 0,
    blockBytes: blockBytes(format),
  };
  return call.records(WORDS, [words]);
}

/** The column of its kind that a lane of a panel holds; there may be none. Lanes are counted by TypeScript. */
export function columnOfLane(body: Body, matrix: I32, panel: I32, lane: number): I32 {
  const column = panel.mul(matrixWord(body, matrix, "advance")).add(lane % (PANEL / 2));
  if (lane < PANEL / 2) return body.let(column);
  return body.let(column.add(matrixWord(body, matrix, "ahead")));
}

/** Where a column of the kind that a lane holds is stored. */
export function storedColumn(body: Body, matrix: I32, column: I32, lane: number): I32 {
  const first = matrixWord(body, matrix, lane < PANEL / 2 ? "low" : "high");
  return body.let(first.add(column.mul(matrixWord(body, matrix, "step"))));
}
