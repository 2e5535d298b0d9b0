import type { KernelCall, Operand } from "../../kernel.ts";

/** The rows of one group. */
export interface GroupRows {
  readonly group: number;
  readonly first: number;
  readonly rows: number;
}

/**
 * The groups that offsets `[G + 1]` cut `rows` rows into, empty ones included. Offsets outside the
 * rows, which no right plan has, are taken as their ends.
 */
export function readGroups(call: KernelCall, offsets: Operand, rows: number): GroupRows[] {
  const { view } = call;
  const at = (index: number): number =>
    Math.min(Math.max(view.getInt32(offsets.address + index * 4, true), 0), rows);
  return Array.from({ length: offsets.size - 1 }, (_, group) => {
    const first = at(group);
    return { group, first, rows: Math.max(0, at(group + 1) - first) };
  });
}
