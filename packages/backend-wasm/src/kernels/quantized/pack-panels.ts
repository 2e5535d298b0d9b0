import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { type Routine, type Words, defineRoutine } from "../../routine.ts";
import { PANEL, type Word, columnOfLane, matrixWord, storedColumn } from "./matrix.ts";

/** What panels are packed with. */
export const PACK_PARAMETERS: Words<"matrix" | "from" | "to" | "panels" | "blocks"> = {
  /** What `writeMatrix` wrote. */
  matrix: I32,
  /** Address of what is packed, and where it goes. */
  from: I32,
  to: I32,
  /** Panels of a matrix, and blocks of a panel. */
  panels: I32,
  blocks: I32,
};

/** A column that is packed into a lane of a panel. Lanes are counted by TypeScript. */
export interface PackedColumn {
  readonly matrix: I32;
  readonly lane: number;
  /** Where the column is stored among the others. */
  readonly stored: I32;
  /** Addresses of what its matrix holds, and of the panel. */
  readonly source: I32;
  readonly target: I32;
  readonly blocks: I32;
}

/** How panels are packed. */
export interface PanelPack {
  readonly name: string;
  /** Word of the bytes from one matrix to the next. */
  readonly matrixBytes: Word;
  /** Bytes of one block of a panel. */
  readonly blockBytes: (body: Body, matrix: I32) => I32;
  readonly packColumn: (body: Body, column: PackedColumn) => void;
}

/** Defines a routine whose task packs one panel, column by column; what belongs to no column is 0. */
export function definePanelPack({
  name,
  matrixBytes,
  blockBytes,
  packColumn,
}: PanelPack): Routine<typeof PACK_PARAMETERS> {
  return defineRoutine(
    name,
    PACK_PARAMETERS,
    (body, { matrix, from, to, panels, blocks }, task) => {
      const panel = body.let(task.remU(panels));
      const before = task.divU(panels).mul(matrixWord(body, matrix, matrixBytes));
      const source = body.let(from.add(before));
      const bytes = body.let(blocks.mul(blockBytes(body, matrix)));
      const target = body.let(to.add(task.mul(bytes)));
      body.fillBytes(target, 0, bytes);
      for (let lane = 0; lane < PANEL; lane++) {
        const column = columnOfLane(body, matrix, panel, lane);
        body.if(column.ltU(matrixWord(body, matrix, "columns")), () => {
          const stored = storedColumn(body, matrix, column, lane);
          packColumn(body, { matrix, lane, stored, source, target, blocks });
        });
      }
    },
  );
}
