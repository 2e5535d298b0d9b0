import type { KernelCall, Operand } from "../../kernel.ts";
import type { GroupRows } from "../products/window.ts";

/** The assignments of tokens to experts, sorted by expert: the rows of the products. */
export interface Assignments {
  /** Rows that are there: choices that name an expert. */
  readonly live: number;
  /** The rows of each expert, also of those without any. */
  readonly groups: readonly GroupRows[];
  /** Address of an i32 for each assignment: its row, −1 where it has none. */
  readonly rowOf: number;
  /** Address of an i32 for each row: its assignment. */
  readonly order: number;
}

/**
 * Sorts the assignments `indices [T, k]` by expert, those of one expert in their order. They are few,
 * and the sizes of the groups decide how the products are cut, so this thread does it.
 */
export function sortAssignments(call: KernelCall, indices: Operand, experts: number): Assignments {
  const { size } = indices;
  const rowOf = call.temporary(2 * size * 4);
  const order = rowOf + size * 4;
  const { buffer } = call.view;
  const ids = new Int32Array(buffer, indices.address, size);
  const starts = new Int32Array(experts + 1);
  for (const id of ids) if (id >= 0 && id < experts) starts[id + 1]!++;
  for (let expert = 0; expert < experts; expert++) starts[expert + 1]! += starts[expert]!;
  const groups: GroupRows[] = [];
  for (let group = 0; group < experts; group++) {
    const first = starts[group]!;
    groups.push({ group, first, rows: starts[group + 1]! - first });
  }
  const live = starts[experts]!;
  const rows = new Int32Array(buffer, rowOf, size);
  const sorted = new Int32Array(buffer, order, size);
  for (let assignment = 0; assignment < size; assignment++) {
    const id = ids[assignment]!;
    const isLive = id >= 0 && id < experts;
    const row = isLive ? starts[id]!++ : -1;
    rows[assignment] = row;
    if (isLive) sorted[row] = assignment;
  }
  return { live, groups, rowOf, order };
}

/** A table of addresses for this call: for each row that of its token's row in a matrix. */
export function tokenRows(
  call: KernelCall,
  { live, order }: Assignments,
  choices: number,
  matrix: number,
  rowBytes: number,
): number {
  const table = call.temporary(live * 4);
  const { buffer } = call.ownView;
  const sorted = new Int32Array(buffer, order, live);
  const addresses = new Uint32Array(buffer, table, live);
  for (let row = 0; row < live; row++) {
    addresses[row] = matrix + Math.trunc(sorted[row]! / choices) * rowBytes;
  }
  return table;
}
