import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import type { KernelCall } from "../../kernel.ts";
import { type Arguments, type Routine, defineRoutine } from "../../routine.ts";
import { storeRows } from "../products/index.ts";
import type { Assignments } from "./assignments.ts";
import { eachColumns } from "./columns.ts";
import type { FfnProblem } from "./problem.ts";

/** Numbers that one task adds, about. */
const GRAIN = 65_536;

const PARAMETERS = {
  to: I32,
  tokens: I32,
  /** Tokens of a task. */
  block: I32,
  choices: I32,
  columns: I32,
  rows: I32,
  rowOf: I32,
  /** Weights of the assignments, or 0: all are 1. */
  weights: I32,
  /** Biases of the experts, or 0, and the expert of each assignment. */
  bias: I32,
  indices: I32,
} as const;

/** For each token of the task the weighted sum of its rows, in the order of its choices. */
const combineRows = /*#__PURE__*/ defineRoutine("ffnCombine", PARAMETERS, (body, args, task) => {
  const { to, tokens, block, choices, columns } = args;
  const bytes = body.let(columns.shl(2));
  const first = body.let(task.mul(block));
  const end = body.let(first.add(block));
  body.set(end, end.minU(tokens));
  body.for(first, end, 1, (token) => {
    eachColumns(body, I32.const(0), columns, (column, vectors) => {
      const sums = Array.from({ length: vectors }, () => body.let(F32x4.const(0)));
      const assignment = body.let(token.mul(choices).shl(2));
      body.for(0, choices, 1, () => {
        addRow(body, args, assignment, column, sums);
        body.increment(assignment, 4);
      });
      const address = body.let(to.add(token.mul(bytes)).add(column.shl(2)));
      if (vectors > 1) {
        for (const [index, sum] of sums.entries()) body.store(address, sum, index * 16);
      } else storeRows(body, [address], [sums], body.let(columns.sub(column)));
    });
  });
});

/** Adds the row of an assignment, whose place in bytes is a local, from a column on. */
function addRow(
  body: Body,
  { columns, rows, rowOf, weights, bias, indices }: Arguments<typeof PARAMETERS>,
  assignment: I32,
  column: I32,
  sums: readonly F32x4[],
): void {
  const row = body.let(I32.load(rowOf.add(assignment)));
  const weight = body.let(F32x4.const(1));
  body.if(weights, () => body.set(weight, F32x4.loadSplat(weights.add(assignment))));
  const placeOf = (index: I32): I32 => index.mul(columns).add(column).shl(2);
  const addRowTimesWeight = (): void => {
    const from = body.let(rows.add(placeOf(row)));
    const values = sums.map((_, index) => body.let(F32x4.load(from, index * 16)));
    body.if(bias, () => {
      const beside = body.let(bias.add(placeOf(I32.load(indices.add(assignment)))));
      for (const [index, value] of values.entries()) {
        body.set(value, value.add(F32x4.load(beside, index * 16)));
      }
    });
    for (const [index, sum] of sums.entries()) {
      body.set(sum, body.madd(weight, values[index] ?? weight, sum));
    }
  };
  // A row that is not there is zero, but a weight that is NaN shows.
  const addNothing = (): void => {
    for (const sum of sums) body.set(sum, body.madd(weight, F32x4.const(0), sum));
  };
  body.if(row.ge(0), addRowTimesWeight, addNothing);
}

/** The factors and biases with which rows come together. */
export interface CombineFactors {
  /** Address of the weights `[T, k]`; 0: all are 1. */
  readonly weights: number;
  /** Address of biases `[E, columns]`, or 0. */
  readonly bias: number;
}

/** Adds the rows of each token up: `rows [live, columns]` → `to [T, columns]`. */
export function combine(
  call: KernelCall,
  { tokens, choices, indices }: FfnProblem,
  { rowOf }: Assignments,
  rows: number,
  columns: number,
  to: number,
  { weights, bias }: CombineFactors,
): void {
  const block = Math.max(1, Math.floor(GRAIN / Math.max(1, choices * columns)));
  call.launch(
    combineRows,
    {
      to,
      tokens,
      block,
      choices,
      columns,
      rows,
      rowOf,
      weights,
      bias,
      indices: indices.address,
    },
    columns === 0 ? 0 : Math.ceil(tokens / block),
  );
}

/** Routines of this file. */
export const combineRoutines: readonly Routine[] = [combineRows];
