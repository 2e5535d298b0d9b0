import type { GpuContext } from "../../context.ts";

/**
 * How a product is cut. `registers`: each invocation computes `rows` × 8 numbers by itself.
 * `workgroup`: a workgroup computes `rows` × `columns` through its memory, each invocation 4 × 8.
 * The numbers are the same to the bit.
 */
export type Cut =
  | { readonly kind: "registers"; readonly rows: 1 | 4 }
  | { readonly kind: "workgroup"; readonly rows: number; readonly columns: number };

/** Columns that one invocation computes: two quads. */
export const PAIR = 8;
/** Products are added up in blocks of so many, and the blocks in their order. */
export const BLOCK = 64;
/** At most so many rows are multiplied one by one instead of in tiles. */
export const FEW_ROWS = 8;

/** The cut for a number of rows that meet the same matrix. */
export function cutFor(context: GpuContext, rows: number): Cut {
  if (context.tiling === "registers") return { kind: "registers", rows: rows <= 1 ? 1 : 4 };
  if (rows <= 16) return { kind: "workgroup", rows: 16, columns: 128 };
  if (rows <= 32) return { kind: "workgroup", rows: 32, columns: 128 };
  return { kind: "workgroup", rows: 64, columns: 64 };
}
