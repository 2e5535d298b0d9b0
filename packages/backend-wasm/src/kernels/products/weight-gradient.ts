import type { Kernel, KernelCall } from "../../kernel.ts";
import { type ColumnFactor, packPanels, packTiles } from "./left.ts";
import { tilesProduct } from "./plain.ts";
import { launchProduct } from "./product.ts";
import { tabulateRows } from "./rows.ts";
import { type GroupRows, readGroups } from "./window.ts";

/** For each group, the sum over its rows r, in order, of dy[r] ⊗ x[row of r]. */
export const groupedMatmulGradWeights: Kernel = (call) => {
  const { transposed = false } = call.attributes<{ transposed?: boolean }>();
  const [x, dy, offsets] = [call.input(0), call.input(1), call.input(2)];
  const rowIndex = call.optional(3);
  const [rows = 0, outer = 0] = dy.shape;
  const [count = 0, inner = 0] = x.shape;
  const output = call.make(0);
  if (call.outputSize(0) === 0) return [output];
  const groups = readGroups(call, offsets, rows);
  const [named, own] = (["named", "own"] as const).map((which) => {
    const [operand, width] = which === "named" ? [x, inner] : [dy, outer];
    const source = operand.address;
    const stride = width * 4;
    if (rowIndex === undefined) return rowsOf(groups, source, width, stride);
    const index = rowIndex.address;
    const limit = count;
    const gathered = { rows: source, limit, stride, index, count: rows, which };
    return rowsOf(groups, tabulateRows(call, gathered), width, 4, true);
  }) as [ColumnFactor, ColumnFactor];
  const [left, right] = transposed ? [named, own] : [own, named];
  multiplyColumns(call, groups, left, right, output.address);
  return [output];
};

/** The rows of each group, whose columns are the rows or the columns of the product. */
export function rowsOf(
  groups: readonly GroupRows[],
  source: number,
  rows: number,
  stride: number,
  gathered = false,
): ColumnFactor {
  const matrices = groups.map((group) => ({
    source: source + group.first * stride,
    inner: group.rows,
  }));
  return { matrices, rows, stride, gathered };
}

/** For each group, empty ones too, the product of its columns: `left.rows` × `right.rows` at `out`. */
export function multiplyColumns(
  call: KernelCall,
  groups: readonly GroupRows[],
  left: ColumnFactor,
  right: ColumnFactor,
  out: number,
): void {
  const tiles = packTiles(call, left);
  const panels = packPanels(call, right);
  const segments = groups.map(({ group, rows }, index) => ({
    left: tiles[index] ?? 0,
    right: panels[index] ?? 0,
    rows: left.rows,
    row: group * left.rows,
    group,
    inner: rows,
    columns: right.rows,
    leftStep: rows * 4,
  }));
  launchProduct(call, tilesProduct, { segments, out, outStride: right.rows * 4 }, {});
}
