import type { GpuContext } from "../../context.ts";

/**
 * How a product is cut. `registers`: each invocation computes `rows` × 8 numbers by itself.
 * `workgroup`: a workgroup computes `rows` × `columns` through its memory, each invocation 4 × 8.
 * The numbers are the same to the bit.
 */
export type Cut =
  | { readonly kind: "registers"; readonly rows: number }
  | { readonly kind: "workgroup"; readonly rows: number; readonly columns: number };

/** Columns that one invocation computes: two quads. */
export const PAIR = 8;
/**
 * Products are added up in blocks of so many, and the blocks in their order; other orders only where
 * the option `batchInvariant` is false.
 */
export const BLOCK = 64;
/** At most so many rows are multiplied one by one instead of in tiles. */
export const FEW_ROWS = 8;

/** Rows of the tiles in registers: one alone, some, and many where lanes share what they read. */
const REGISTER_ROWS = { some: 4, many: 16 } as const;
/** Columns from which on tiles of many rows are worth their longer text. */
const WIDE = 256;

/**
 * The cut for a number of rows that meet the same matrix, which has so many columns. None are given
 * where the lanes of a subgroup cannot share the left side.
 */
export function cutFor(context: GpuContext, rows: number, columns = 0): Cut {
  if (context.tiling === "registers") {
    const { some, many } = REGISTER_ROWS;
    const large = rows > some && columns >= WIDE && context.subgroupSize > 0;
    return { kind: "registers", rows: large ? many : rows > 1 ? some : 1 };
  }
  if (rows <= 16) return { kind: "workgroup", rows: 16, columns: 128 };
  if (rows <= 32) return { kind: "workgroup", rows: 32, columns: 128 };
  return { kind: "workgroup", rows: 64, columns: 64 };
}
