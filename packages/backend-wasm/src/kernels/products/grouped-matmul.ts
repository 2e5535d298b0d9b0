import type { Kernel, KernelCall, Operand } from "../../kernel.ts";
import { rowsProduct } from "./plain.ts";
import { launchProduct } from "./product.ts";
import { type PackedFactor, packWeights } from "./right.ts";
import { tabulateRows } from "./rows.ts";
import { type GroupRows, readGroups } from "./window.ts";

/** Each row times the matrix of its group; rows outside the groups are zero. */
export const groupedMatmul: Kernel = (call) => {
  const { transposed = false } = call.attributes<{ transposed?: boolean }>();
  const [x, weights, offsets] = [call.input(0), call.input(1), call.input(2)];
  const rowIndex = call.optional(3);
  const [rows = 0, columns = 0] = call.spec(0).shape;
  const [count = 0, inner = 0] = x.shape;
  const output = call.make(0);
  const out = output.address;
  const groups = readGroups(call, offsets, rows).filter((group) => group.rows > 0);
  clearOutside(call, groups, { out, rows, bytes: columns * 4 });
  if (groups.length === 0 || columns === 0) return [output];
  const right = packMatrices(call, weights, { inner, columns, transposed });
  const source = x.address;
  const stride = inner * 4;
  const left = rowIndex
    ? tabulateRows(call, {
        rows: source,
        limit: count,
        stride,
        index: rowIndex.address,
        count: rows,
        which: "named",
      })
    : source;
  const leftStep = rowIndex ? 4 : stride;
  const segments = groups.map((group) => ({
    left: left + group.first * leftStep,
    right: right.address + group.group * right.matrixBytes,
    rows: group.rows,
    row: group.first,
    group: group.group,
    inner,
    columns,
    leftStep,
  }));
  const gathered = rowIndex !== undefined;
  const launch = { segments, leftStride: stride, gathered, out, outStride: columns * 4 };
  launchProduct(call, rowsProduct, launch, {});
  return [output];
};

function packMatrices(
  call: KernelCall,
  weights: Operand,
  {
    inner,
    columns,
    transposed,
  }: { readonly inner: number; readonly columns: number; readonly transposed: boolean },
): PackedFactor {
  return packWeights(call, weights, {
    dtype: "f32",
    matrices: weights.shape[0] ?? 0,
    matrixStride: inner * columns,
    inner,
    innerStride: transposed ? columns : 1,
    columns,
    columnStride: transposed ? 1 : inner,
  });
}

/** Zeros for the rows that no group has. */
function clearOutside(
  call: KernelCall,
  groups: readonly GroupRows[],
  { out, rows, bytes }: { readonly out: number; readonly rows: number; readonly bytes: number },
): void {
  const clear = (from: number, to: number): void => {
    new Uint8Array(call.view.buffer, out + from * bytes, (to - from) * bytes).fill(0);
  };
  let done = 0;
  for (const { first, rows: size } of groups) {
    if (first > done) clear(done, first);
    done = Math.max(done, first + size);
  }
  if (rows > done) clear(done, rows);
}
