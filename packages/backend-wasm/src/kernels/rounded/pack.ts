import { I32 } from "../../emit/scalars.ts";
import type { KernelCall } from "../../kernel.ts";
import type { Routine } from "../../routine.ts";
import {
  type CodesMatrix,
  PANEL,
  blocksOf,
  matrixWord,
  panelsOf,
  writeMatrix,
} from "../quantized/matrix.ts";
import { type PACK_PARAMETERS, definePanelPack } from "../quantized/pack-panels.ts";
import { BLOCK } from "./rows.ts";

/** Numbers of a row that meet codes at once. */
export const GROUP = 4;
/** Such groups in a block. */
export const GROUPS: number = BLOCK / GROUP;
/** Lanes of a vector of codes. */
export const LANES: number = PANEL / 2;
/** Bytes of the scales of a panel's block: a float for each column. */
export const SCALES_BYTES: number = PANEL * 4;

/** Bytes of a panel's group: two codes in each byte, or one. */
export function groupBytes(halves: boolean): number {
  return (GROUP * PANEL) / (halves ? 2 : 1);
}

/**
 * Packs the codes of one panel: groups of 4 ks, those of lanes 0 … 3 and of lanes 4 … 7 side by side,
 * each column's four codes together. Of 4-bit codes lanes 4 … 7 are the high halves of the same bytes.
 */
const packCodes: Routine<typeof PACK_PARAMETERS> = /*#__PURE__*/ definePanelPack({
  name: "packRoundedCodes",
  matrixBytes: "matrixBytes",
  blockBytes: (body, matrix) => matrixWord(body, matrix, "blockBytes"),
  packColumn(body, { matrix, lane, stored, source, target }) {
    const halves = matrixWord(body, matrix, "kind");
    const shift = body.let(I32.const(4).select(halves, I32.const(5)));
    const [half, turn] = [Math.trunc(lane / LANES), lane % LANES];
    const code = body.let(stored.mul(matrixWord(body, matrix, "columnCodes")));
    body.for(0, matrixWord(body, matrix, "inner"), 1, (k) => {
      const place = body.let(target.add(k.shrU(2).shl(shift)).add(k.and(GROUP - 1)));
      body.if(
        halves,
        () => {
          const byte = I32.load8U(source.add(code.shrU(1)));
          const number = byte
            .shrU(code.and(1).shl(2))
            .and(15)
            .shl(half * 4);
          const offset = turn * GROUP;
          body.store8(place, I32.load8U(place, offset).or(number), offset);
        },
        () => {
          const offset = (half * LANES + turn) * GROUP;
          body.store8(place, I32.load8U(source.add(code)), offset);
        },
      );
      body.increment(code, 1);
    });
  },
});

/** Packs the scales of one panel: of each block those of its lanes. */
const packScales: Routine<typeof PACK_PARAMETERS> = /*#__PURE__*/ definePanelPack({
  name: "packRoundedScales",
  matrixBytes: "scalesMatrix",
  blockBytes: () => I32.const(SCALES_BYTES),
  packColumn(body, { matrix, lane, stored, source, target, blocks }) {
    const row = body.let(source.add(stored.mul(matrixWord(body, matrix, "scalesRow"))));
    body.for(0, blocks, 1, (block) => {
      const place = target.add(block.mul(SCALES_BYTES));
      body.store(place, I32.load(row.add(block.shl(2))), lane * 4);
    });
  },
});

/** Codes and scales in panels, those of a matrix one after the other. */
export interface PackedBlocks {
  readonly codes: number;
  readonly scales: number;
  /** Panels of a matrix. */
  readonly panels: number;
  /** Columns of a product with a matrix; with two kinds all lanes of all panels. */
  readonly columns: number;
}

/** Packs codes and scales: at their first use, and kept as long as they stay what they are. */
export function packBlocks(call: KernelCall, matrix: CodesMatrix): PackedBlocks {
  const { codes, scales, matrices, inner, stored, columns, step, kinds = [] } = matrix;
  const [panels, blocks] = [panelsOf(matrix), blocksOf(matrix)];
  const count = matrices * panels;
  const panelBytes = blocks * GROUPS * groupBytes(holdsHalves(matrix));
  const name = ["rounded", holdsHalves(matrix), inner, stored, columns, step, ...kinds].join();
  const fill = (routine: typeof packCodes, from: number) => (to: number) => {
    call.launch(routine, { matrix: writeMatrix(call, matrix), from, to, panels, blocks }, count);
  };
  return {
    codes: call.derived(codes, name, count * panelBytes, fill(packCodes, codes.address)),
    scales: call.derived(
      scales,
      name,
      count * blocks * SCALES_BYTES,
      fill(packScales, scales.address),
    ),
    panels,
    columns: matrix.kinds ? panels * PANEL : columns,
  };
}

/** Whether two codes share a byte. */
export function holdsHalves({ format }: CodesMatrix): boolean {
  return format === "q4_block32";
}

/** Routines of this file. */
export const packBlocksRoutines: readonly Routine[] = [packCodes, packScales];
