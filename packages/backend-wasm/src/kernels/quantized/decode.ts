import type { Body, Subroutine } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import { halfByteTables } from "./codes.ts";
import { blocksWord, matrixWord } from "./matrix.ts";
import { type Held, ROUNDS, STEPS, eachNumber, stepsBytes } from "./numbers.ts";
import { LANES_BYTES, callFindScales, callReadScales } from "./scales.ts";

/** Panels that few rows take at a time, so that enough sums are on their way. */
export const WIDE = 4;
/** The most rows for which codes become numbers in registers. */
export const FEW_ROWS = 2;
/** Vectors that a decode leaves behind for each row. */
export const WIDE_VECTORS: number = WIDE * 2;

/** Bytes that a decode needs beside its sums. */
export const DECODE_WORK: number = WIDE * LANES_BYTES;

const NAMES = ["matrix", "group", "panel", "codes", "to", "work"] as const;

/** What a decode is called with, all of them words. */
export interface DecodeArguments {
  readonly matrix: I32;
  readonly group: I32;
  /** Number of the first panel in the matrix, and address of its codes. */
  readonly panel: I32;
  readonly codes: I32;
  /** Where the sums go, row by row. */
  readonly to: I32;
  /** Where addresses of scales may be held: {@link DECODE_WORK}. */
  readonly work: I32;
  /** Addresses of the rows. */
  readonly rows: readonly I32[];
}

/** The decodes of so many rows: of codes that are whole bytes, and of halves. */
interface Decodes {
  readonly bytes: Subroutine;
  readonly halves: Subroutine;
}

/**
 * Few rows times {@link WIDE} panels, whose codes become numbers in registers: the same products in
 * the same order as with the panels as floats. K is a multiple of {@link STEPS}. By the number of rows
 * less one.
 */
const decodes: readonly Decodes[] = /*#__PURE__*/ Array.from({ length: FEW_ROWS }, (_, index) => ({
  bytes: defineDecode(index + 1, true),
  halves: defineDecode(index + 1, false),
}));

/** Calls the decode of as many rows as there are. */
export function callDecode(body: Body, args: DecodeArguments): void {
  const found = decodes[args.rows.length - 1];
  if (found === undefined) throw new TypeError("there is no decode of so many rows");
  const words = [...NAMES.map((name) => args[name]), ...args.rows];
  body.if(
    matrixWord(body, args.matrix, "kind"),
    () => body.callSubroutine(found.halves, words),
    () => body.callSubroutine(found.bytes, words),
  );
}

function defineDecode(height: number, whole: boolean): Subroutine {
  const count = NAMES.length + height;
  return {
    name: `decode${whole ? "Bytes" : "Halves"}${height}`,
    parameters: Array.from({ length: count }, () => "i32"),
    write(body) {
      const words = Array.from({ length: count }, (_, index) => body.parameter(I32, index));
      const entries = NAMES.map((name, index) => [name, words[index]]);
      const rows = words.slice(NAMES.length);
      const args = { ...Object.fromEntries(entries), rows } as DecodeArguments;
      const kind = matrixWord(body, args.matrix, "kind");
      const sums = addRows(body, args, whole ? "bytes" : halfByteTables(body, kind));
      for (const [index, sum] of sums.entries()) body.store(args.to, sum, index * 16);
    },
  };
}

/** The sums of all rows, panel by panel. */
function addRows(
  body: Body,
  { matrix, group, panel, codes, work, rows }: DecodeArguments,
  held: Held,
): F32x4[] {
  const blocks = blocksWord(body, matrix);
  const panelBytes = body.let(blocks.mul(matrixWord(body, matrix, "blockBytes")));
  const panels = Array.from({ length: WIDE }, (_, index) => ({
    codes: body.let(codes.add(panelBytes.mul(index))),
    scales: body.let(work.add(index * LANES_BYTES)),
    vectors: [0, 1].map(() => body.let(F32x4.const(0))),
    sums: rows.map(() => [0, 1].map(() => body.let(F32x4.const(0)))),
  }));
  for (const [index, { scales }] of panels.entries()) {
    callFindScales(body, matrix, group, panel.add(index), scales);
  }
  const exponents = matrixWord(body, matrix, "exponents");
  const scaleStep = matrixWord(body, matrix, "scaleStep");
  const offset = body.int(0);
  const rest = body.let(matrixWord(body, matrix, "inner").divU(STEPS));
  body.while(
    () => rest.gt(0),
    () => {
      for (const { scales, vectors } of panels) {
        callReadScales(body, scales, offset, exponents, vectors);
      }
      body.increment(offset, scaleStep);
      const rounds = body.int(ROUNDS);
      body.set(rounds, rounds.minU(rest));
      body.set(rest, rest.sub(rounds));
      body.repeat(() => {
        const left = rows.map((row) =>
          Array.from({ length: STEPS }, (_, step) => body.let(F32x4.loadSplat(row, step * 4))),
        );
        for (const one of panels) {
          eachNumber(body, held, one.codes, (number, step, vector) => {
            const weight = body.let(number.mul(one.vectors[vector] ?? number));
            for (const [row, sums] of one.sums.entries()) {
              const [sum, x] = [sums[vector], left[row]?.[step]];
              if (sum && x) body.set(sum, body.madd(x, weight, sum));
            }
          });
          body.increment(one.codes, stepsBytes(held));
        }
        for (const row of rows) body.increment(row, STEPS * 4);
        body.increment(rounds, -1);
        return rounds;
      });
    },
  );
  return rows.flatMap((_, row) => panels.flatMap(({ sums }) => sums[row] ?? []));
}
