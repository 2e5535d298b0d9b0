import type { GpuHandle } from "../../memory.ts";
import { type Operand, write } from "../../program.ts";

/** How rows of f32 are written by quads of columns. */
export interface RowStore {
  readonly operand: Operand;
  readonly variant: string;
  /**
   * `put_NAME(line, column, columns, value)` stores the columns of a quad that are in the row;
   * `get_NAME(line, column)` gives a quad, of which columns behind the row may be anything.
   */
  readonly declarations: string;
}

/** Writes rows `columns` wide; the quads begin at multiples of four. */
export function rowStore(name: string, handle: GpuHandle, columns: number): RowStore {
  const aligned = columns % 4 === 0;
  const body = aligned
    ? `if (column < columns) { store_${name}((line + column) >> 2u, value); }`
    : [0, 1, 2, 3]
        .map(
          (i) =>
            `if (column + ${i}u < columns) { store_${name}(line + column + ${i}u, value[${i}]); }`,
        )
        .join("\n  ");
  const quad = aligned
    ? `return load_${name}((line + column) >> 2u);`
    : `let at = line + column;
  return vec4<f32>(load_${name}(at), load_${name}(at + 1u), load_${name}(at + 2u), load_${name}(at + 3u));`;
  return {
    operand: write(handle, aligned ? "vec4<f32>" : "f32"),
    variant: aligned ? "v" : "s",
    declarations: `fn put_${name}(line: u32, column: u32, columns: u32, value: vec4<f32>) {
  ${body}
}
fn get_${name}(line: u32, column: u32) -> vec4<f32> {
  ${quad}
}`,
  };
}

/**
 * WGSL that stores a product's sums `v0` and `v1`, neighbouring quads, in their row of the operand
 * `y`. `stored` makes the stored value of a sum and the column at which it begins.
 */
export function storePair(
  line: string,
  stored: (sum: string, column: string) => string = (sum) => sum,
): string {
  return ["pair * 8u", "pair * 8u + 4u"]
    .map((column, i) => `put_y(${line}, ${column}, params.columns, ${stored(`v${i}`, column)});`)
    .join("\n  ");
}
