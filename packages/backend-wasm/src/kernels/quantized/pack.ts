import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import type { KernelCall } from "../../kernel.ts";
import type { Routine } from "../../routine.ts";
import {
  type CodesMatrix,
  PANEL,
  blockBytes,
  blocksOf,
  matrixWord,
  panelsOf,
  writeMatrix,
} from "./matrix.ts";
import { type PACK_PARAMETERS, type PackedColumn, definePanelPack } from "./pack-panels.ts";

/** Turns the zero point 128 into 0, and so makes codes signed. */
const SIGN = 0x80;
/** Bytes that four ks of a panel share, where two codes share one. */
const FOUR_STEPS: number = (4 * PANEL) / 2;

/**
 * Packs one panel: blocks of 32 ks, those of 8 columns side by side. Whole bytes are stored as signed
 * distances from their zero point. Of 4-bit codes four ks share 16 bytes: those of k and k + 1 are
 * the low halves, those of k + 2 and k + 3 the high ones, columns c and c + 4 side by side: so they
 * come out in order.
 */
const packCodes: Routine<typeof PACK_PARAMETERS> = /*#__PURE__*/ definePanelPack({
  name: "packCodes",
  matrixBytes: "matrixBytes",
  blockBytes: (body, matrix) => matrixWord(body, matrix, "blockBytes"),
  packColumn,
});

/** All ks of the column of one lane. */
function packColumn(body: Body, { matrix, stored, source, target: to, lane }: PackedColumn): void {
  const half = PANEL / 2;
  const turn = 2 * (lane % half) + Math.trunc(lane / half);
  const code = body.let(stored.mul(matrixWord(body, matrix, "columnCodes")));
  const step = matrixWord(body, matrix, "innerCodes");
  const inner = matrixWord(body, matrix, "inner");
  const each = (visit: (k: I32) => void): void =>
    body.for(0, inner, 1, (k) => {
      visit(k);
      body.increment(code, step);
    });
  body.if(
    matrixWord(body, matrix, "kind"),
    () =>
      each((k) => {
        const byte = I32.load8U(source.add(code.shrU(1)));
        const number = byte.shrU(code.and(1).shl(2)).and(15);
        const place = body.let(to.add(k.shrU(2).mul(FOUR_STEPS)).add(k.and(1).mul(PANEL)));
        body.store8(place, I32.load8U(place, turn).or(number.shl(k.and(2).shl(1))), turn);
      }),
    () =>
      each((k) => body.store8(to.add(k.mul(PANEL)), I32.load8U(source.add(code)).xor(SIGN), lane)),
  );
}

/** Codes in panels, those of a matrix one after the other. */
export interface PackedCodes {
  readonly address: number;
  /** Bytes of a panel, and of all panels of a matrix. */
  readonly panelBytes: number;
  readonly matrixBytes: number;
  /** Columns of a product with a matrix; with two kinds all lanes of all panels. */
  readonly columns: number;
}

/** Packs codes: at their first use, and kept as long as they stay what they are. Scales stay where they are. */
export function packCodesOf(call: KernelCall, matrix: CodesMatrix): PackedCodes {
  const { codes, matrices, inner, stored, transposed, columns, step, kinds = [] } = matrix;
  const [panels, blocks] = [panelsOf(matrix), blocksOf(matrix)];
  const panelBytes = blocks * blockBytes(matrix.format);
  const matrixBytes = panels * panelBytes;
  const held = matrix.format.startsWith("q8") ? "bytes" : "halves";
  const name = ["codes", held, inner, stored, transposed, columns, step, ...kinds].join();
  const address = call.derived(codes, name, matrices * matrixBytes, (to) => {
    const args = { matrix: writeMatrix(call, matrix), from: codes.address, to, panels, blocks };
    call.launch(packCodes, args, matrices * panels);
  });
  return { address, panelBytes, matrixBytes, columns: matrix.kinds ? panels * PANEL : columns };
}

/** Routines of this file. */
export const packCodesRoutines: readonly Routine[] = [packCodes];
