import type { Body } from "../../emit/body.ts";
import { F32, I32 } from "../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";
import type { KernelCall } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { storeRows } from "../products/index.ts";
import type { Assignments } from "./assignments.ts";
import { eachColumns, laneMask, laneSum } from "./columns.ts";

/** Numbers that one task touches, about. */
const GRAIN = 65_536;

/** Rows of a task where each has so many columns. */
export function rowsPerTask(columns: number): number {
  return Math.max(1, Math.floor(GRAIN / Math.max(1, columns)));
}

const ROWS = {
  /** Rows, and those of a task. */
  rows: I32,
  block: I32,
  columns: I32,
  /** Address of a table of rows' addresses. */
  table: I32,
  /** Address of each row's assignment. */
  order: I32,
} as const;

/** Rows times the weights of their assignments. */
const scaleRows = /*#__PURE__*/ defineRoutine(
  "ffnScaleRows",
  { ...ROWS, weights: I32, to: I32 },
  (body, { rows, block, columns, table, order, weights, to }, task) => {
    const first = body.let(task.mul(block));
    const end = body.let(first.add(block));
    body.set(end, end.minU(rows));
    body.for(first, end, 1, (row) => {
      const from = body.let(I32.load(table.add(row.shl(2))));
      const assignment = I32.load(order.add(row.shl(2)));
      const weight = body.let(F32x4.loadSplat(weights.add(assignment.shl(2))));
      const target = body.let(to.add(row.mul(columns).shl(2)));
      eachColumns(body, I32.const(0), columns, (column, vectors) => {
        const address = body.let(target.add(column.shl(2)));
        const values = Array.from({ length: vectors }, (_, index) =>
          body.let(F32x4.load(from.add(column.shl(2)), index * 16).mul(weight)),
        );
        if (vectors > 1) {
          for (const [index, value] of values.entries()) body.store(address, value, index * 16);
        } else storeRows(body, [address], [values], body.let(columns.sub(column)));
      });
    });
  },
);

/** For each row its product with another, stored at the row's assignment. */
const dotRows = /*#__PURE__*/ defineRoutine(
  "ffnDotRows",
  { ...ROWS, others: I32, to: I32 },
  (body, { rows, block, columns, table, order, others, to }, task) => {
    const first = body.let(task.mul(block));
    const end = body.let(first.add(block));
    body.set(end, end.minU(rows));
    body.for(first, end, 1, (row) => {
      const left = body.let(I32.load(table.add(row.shl(2))));
      const right = body.let(others.add(row.mul(columns).shl(2)));
      const sum = rowDot(body, left, right, columns);
      const assignment = I32.load(order.add(row.shl(2)));
      body.store(to.add(assignment.shl(2)), sum);
    });
  },
);

/** Adds, for each row, its product with its expert's bias at the row's assignment. */
const addDots = /*#__PURE__*/ defineRoutine(
  "ffnAddBiasDots",
  { ...ROWS, bias: I32, indices: I32, to: I32 },
  (body, { rows, block, columns, table, order, bias, indices, to }, task) => {
    const first = body.let(task.mul(block));
    const end = body.let(first.add(block));
    body.set(end, end.minU(rows));
    body.for(first, end, 1, (row) => {
      const assignment = body.let(I32.load(order.add(row.shl(2))).shl(2));
      const expert = I32.load(indices.add(assignment));
      const left = body.let(I32.load(table.add(row.shl(2))));
      const sum = rowDot(body, left, body.let(bias.add(expert.mul(columns).shl(2))), columns);
      const address = body.let(to.add(assignment));
      body.store(address, F32.load(address).add(sum));
    });
  },
);

/** The product of two rows. */
function rowDot(body: Body, left: I32, right: I32, columns: I32): F32 {
  const sum = body.let(F32x4.const(0));
  body.for(0, columns, 4, (column) => {
    const offset = body.let(column.shl(2));
    const product = F32x4.load(left.add(offset)).mul(F32x4.load(right.add(offset)));
    const mask = laneMask(body, column, columns);
    body.set(sum, sum.add(product.as(I32x4).and(mask).as(F32x4)));
  });
  return laneSum(sum);
}

/** Columns of a task of {@link sumRows}. */
const SUM_COLUMNS = 64;

/** For each group the sum of its rows, perhaps times their weights, some columns in a task. */
const sumRows = /*#__PURE__*/ defineRoutine(
  "ffnSumRows",
  {
    columns: I32,
    /** Tasks of a group. */
    parts: I32,
    /** Address of the first row of each group and, behind the last, of the number of rows. */
    offsets: I32,
    /** Rows' addresses in a table, or `rows` and bytes from one to the next where that is 0. */
    table: I32,
    rows: I32,
    stride: I32,
    /** Weights of assignments, or 0, and each row's assignment. */
    weights: I32,
    order: I32,
    to: I32,
  },
  (body, { columns, parts, offsets, table, rows, stride, weights, order, to }, task) => {
    const group = body.let(task.divU(parts));
    const from = body.let(task.remU(parts).mul(SUM_COLUMNS));
    const end = body.let(from.add(SUM_COLUMNS));
    body.set(end, end.minU(columns));
    const place = body.let(offsets.add(group.shl(2)));
    const target = body.let(to.add(group.mul(columns).shl(2)));
    eachColumns(body, from, end, (column, vectors) => {
      const sums = Array.from({ length: vectors }, () => body.let(F32x4.const(0)));
      body.for(I32.load(place), I32.load(place, 4), 1, (row) => {
        const address = body.let(rows.add(row.mul(stride)));
        body.if(table, () => body.set(address, I32.load(table.add(row.shl(2)))));
        body.increment(address, column.shl(2));
        const weight = body.let(F32x4.const(1));
        body.if(weights, () => {
          const assignment = I32.load(order.add(row.shl(2)));
          body.set(weight, F32x4.loadSplat(weights.add(assignment.shl(2))));
        });
        for (const [index, sum] of sums.entries()) {
          body.set(sum, body.madd(F32x4.load(address, index * 16), weight, sum));
        }
      });
      const address = body.let(target.add(column.shl(2)));
      if (vectors > 1) {
        for (const [index, sum] of sums.entries()) body.store(address, sum, index * 16);
      } else storeRows(body, [address], [sums], body.let(columns.sub(column)));
    });
  },
);

/** Sorted rows that lie elsewhere, through a table of their addresses. */
export interface TabledRows {
  readonly table: number;
  readonly columns: number;
}

/** Rows times their assignments' weights, for this call: the address of the first. */
export function scaled(
  call: KernelCall,
  { live, order }: Assignments,
  { table, columns }: TabledRows,
  weights: number,
): number {
  const to = call.temporary(live * columns * 4);
  const block = rowsPerTask(columns);
  const args = { rows: live, block, columns, table, order, weights, to };
  call.launch(scaleRows, args, Math.ceil(live / block));
  return to;
}

/** Products of rows with `others [live, columns]`, for their assignments: into `to [T, k]`. */
export function dots(
  call: KernelCall,
  { live, order }: Assignments,
  { table, columns }: TabledRows,
  others: number,
  to: number,
): void {
  const block = rowsPerTask(columns);
  const args = { rows: live, block, columns, table, order, others, to };
  call.launch(dotRows, args, Math.ceil(live / block));
}

/** Adds products of rows with their experts' biases `[E, columns]` to `to [T, k]`. */
export function addBiasDots(
  call: KernelCall,
  { live, order }: Assignments,
  { table, columns }: TabledRows,
  bias: number,
  indices: number,
  to: number,
): void {
  const block = rowsPerTask(columns);
  const args = { rows: live, block, columns, table, order, bias, indices, to };
  call.launch(addDots, args, Math.ceil(live / block));
}

/** Rows to be added up, for {@link sums}. */
export interface SummedRows {
  /** Address of a table of their addresses, or 0: they lie at `rows`, `stride` bytes apart. */
  readonly table: number;
  readonly rows: number;
  readonly stride: number;
  readonly columns: number;
  /** Address of weights `[T, k]`; 0: all are 1. */
  readonly weights: number;
}

/** Adds the rows of each expert up: into `to [E, columns]`. */
export function sums(
  call: KernelCall,
  { groups, live, order }: Assignments,
  { columns, ...source }: SummedRows,
  to: number,
): void {
  const offsets = call.temporary((groups.length + 1) * 4);
  const { ownView: view } = call;
  for (const { group, first } of groups) view.setInt32(offsets + group * 4, first, true);
  view.setInt32(offsets + groups.length * 4, live, true);
  const parts = Math.ceil(columns / SUM_COLUMNS);
  call.launch(sumRows, { ...source, columns, parts, offsets, order, to }, groups.length * parts);
}

/** Routines of this file. */
export const rowWorkRoutines: readonly Routine[] = [scaleRows, dotRows, addDots, sumRows];
