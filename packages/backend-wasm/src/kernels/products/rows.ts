import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import type { KernelCall } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { eachFlat, flatTasks } from "../flat.ts";

/** For each entry of an index the address of a row; of zeros where the index names none. */
const rowAddresses = /*#__PURE__*/ defineRoutine(
  "rowAddresses",
  {
    to: I32,
    count: I32,
    /** Address of the index; 0: row r of the table is row r, if `valid` says so. */
    index: I32,
    /** Address of an index that must name a row of `limit`, for the row to be there. */
    valid: I32,
    limit: I32,
    rows: I32,
    stride: I32,
    zeros: I32,
  },
  (body: Body, { to, count, index, valid, limit, rows, stride, zeros }, task) => {
    eachFlat(body, task, count, 1, (entry) => {
      const place = body.let(entry.shl(2));
      const row = body.let(entry);
      body.if(index, () => body.set(row, I32.load(index.add(place))));
      const named = body.let(I32.load(valid.add(place)));
      const address = body.let(rows.add(row.mul(stride)));
      body.store(to.add(place), address.select(named.ltU(limit), zeros));
    });
  },
);

/** Rows of a matrix, for a table of their addresses. */
export interface GatheredRows {
  /** Address of the matrix. */
  readonly rows: number;
  /** Rows that it has. */
  readonly limit: number;
  /** Bytes from one row to the next. */
  readonly stride: number;
  /** Address of an i32 for each entry. */
  readonly index: number;
  readonly count: number;
  /**
   * `named`: entry r is the row that the index names. `own`: row r of the matrix. Both are zeros where
   * the index names no row below `limit`.
   */
  readonly which: "named" | "own";
}

/** Makes a table of rows' addresses, for this call. */
export function tabulateRows(call: KernelCall, gathered: GatheredRows): number {
  const { rows, limit, stride, index, count, which } = gathered;
  const to = call.temporary(count * 4);
  // A row of zeros, and what packing reads behind it.
  const zeros = call.temporary(stride);
  new Uint8Array(call.ownView.buffer, zeros, stride).fill(0);
  const valid = index;
  call.launch(
    rowAddresses,
    { to, count, index: which === "named" ? index : 0, valid, limit, rows, stride, zeros },
    flatTasks(count),
  );
  return to;
}

/** The routines of this file. */
export const rowRoutines: readonly Routine[] = [rowAddresses];
