import type { Input, Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, type Param, read, u32, write } from "../../program.ts";
import { FEW_ROWS, cutFor } from "./cut.ts";
import { alignedLines, factorOf, type Factor } from "./factor.ts";
import {
  type Bank,
  OWNER_TEXT,
  bankFactor,
  eachWindow,
  multiplyGroups,
} from "./grouped-product.ts";
import { TILE_WORDS, mapTiles, tileBound } from "./row-tiles.ts";
import { rowStore, storePair } from "./store.ts";
import { multiplyFew } from "./strip.ts";

interface Problem {
  readonly x: Input;
  readonly offsets: Input;
  readonly rowIndex: Input | undefined;
  readonly bank: Bank;
  /** A. */
  readonly rows: number;
  readonly left: Factor;
  readonly operands: Readonly<Record<string, Operand>>;
  readonly params: Readonly<Record<string, Param>>;
  /** WGSL: `present(row)` and, where rows are picked, `picked(row)`. */
  readonly declarations: string;
}

/** Each row times the matrix of its group; rows outside the groups are zero. */
export const groupedMatmul: Kernel = (call) => {
  const problem = problemOf(call);
  const y = call.make(0);
  if (problem.rows === 0) return [y];
  const few = problem.rows <= FEW_ROWS && call.context.tiling === "workgroup";
  if (few) multiplyStrips(call, problem, y);
  else multiplyTiles(call, problem, y);
  return [y];
};

function problemOf(call: KernelCall): Problem {
  const { transposed = false } = call.attributes<{ transposed?: boolean }>();
  const [x, weights, offsets] = [call.input(0), call.input(1), call.input(2)];
  const rowIndex = call.optional(3);
  const [count = 0, inner = 0] = x.shape;
  const [rows = 0, columns = 0] = call.spec(0).shape;
  const groups = weights.shape[0] ?? 0;
  const left = factorOf({
    name: "x",
    dtype: "f32",
    order: "rows",
    aligned: alignedLines(x.handle, inner),
    whole: inner % 4 === 0,
    stride: "params.inner",
    shift: "0u",
    last: "params.rows - 1u",
    line: rowIndex && ((row) => `picked(${row})`),
    variant: rowIndex ? "picked" : "",
  });
  const operands = {
    x: read(x.handle, left.type),
    ...(rowIndex && { rowIndex: read(rowIndex.handle, "i32") }),
  };
  return {
    x,
    offsets,
    rowIndex,
    rows,
    left,
    operands,
    bank: { handle: weights.handle, held: "f32", groups, inner, columns, transposed },
    params: { rows: u32(rows), count: u32(count) },
    declarations: rowIndex ? PICKED : "fn present(row: u32) -> bool { return true; }",
  };
}

/** A row that stands for none is multiplied as another one, and stored as zeros. */
const PICKED = `
fn picked(row: u32) -> u32 {
  return u32(clamp(load_rowIndex(row), 0, i32(max(params.count, 1u)) - 1));
}
fn present(row: u32) -> bool {
  let id = load_rowIndex(row);
  return id >= 0 && id < i32(params.count);
}`;

function multiplyTiles(call: KernelCall, problem: Problem, y: GpuHandle): void {
  const { bank, rows, left, offsets, operands, params, declarations } = problem;
  const { groups } = bank;
  const busy = Math.max(1, Math.min(groups, rows));
  const cut = cutFor(call.context, Math.ceil(rows / busy), bank.columns);
  const tiling = { rows, groups, tileRows: cut.rows };
  const words = tileBound(rows, groups, cut.rows) * TILE_WORDS;
  const plan = { handle: call.temporary({ shape: [words], dtype: "u32" }), tilesAt: 0 };
  mapTiles(call, offsets.handle, tiling, plan);
  const store = rowStore("y", y, bank.columns);
  multiplyGroups(call, {
    name: "groupedMatmul",
    variant: store.variant,
    cut,
    tiling,
    plan,
    left,
    bank,
    operands: { ...operands, y: store.operand },
    params,
    declarations: `${declarations}\n${store.declarations}`,
    store: `let there = present(row);
  ${storePair("row * params.columns", (sum) => `select(vec4<f32>(), ${sum}, there)`)}`,
  });
}

/** Rows one by one, each with the matrix of its group: what decoding needs. */
function multiplyStrips(call: KernelCall, problem: Problem, y: GpuHandle): void {
  const { bank, rows, left, offsets, operands, params, declarations } = problem;
  const right = bankFactor(bank, false);
  const bound = { offsets: read(offsets.handle, "i32"), ...operands, y: write(y, "f32") };
  eachWindow(call, bank, bound, right.type, (all, window) => {
    multiplyFew(call, {
      name: "groupedMatmulFew",
      variant: "",
      rows: 1,
      left,
      right,
      operands: all,
      params: { ...window, ...params },
      items: rows,
      places: bank.columns,
      inner: bank.inner,
      declarations: `${declarations}\n${OWNER_OF_ROW}`,
      begin: `let owner = owner_of(item);
${OWNER_TEXT}
let first = item; let limit = item + 1u;`,
      columns: (place) => [place],
      store: "store_y(row * params.columns + column, select(0.0, v0, present(row)));",
    });
  });
}

/** The group of a row, `params.groups` where it has none. */
const OWNER_OF_ROW = `
fn owner_of(row: u32) -> u32 {
  if (i32(row) < load_offsets(0u)) { return params.groups; }
  var low = 0u;
  var high = params.groups;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (load_offsets(middle + 1u) <= i32(row)) { low = middle + 1u; } else { high = middle; }
  }
  return low;
}`;
