import type { Kernel, KernelCall } from "../../kernel.ts";
import { launchProduct, packWeights } from "../products/index.ts";
import { rowsProduct } from "../products/plain.ts";
import { launchCodesProduct, packCodesOf, rowsCodesProduct } from "../quantized/index.ts";
import { type Assignments, sortAssignments, tokenRows } from "./assignments.ts";
import { combine } from "./combine.ts";
import { type FfnProblem, downCodes, downFactor, readProblem } from "./problem.ts";
import { scaled } from "./row-work.ts";
import { type RowSource, type UpOutput, runUp } from "./up.ts";

/** The whole path of a token-choice layer through its experts. */
export const moeFfn: Kernel = (call) => {
  const problem = readProblem(call, 0);
  const output = call.make(0);
  const hidden = call.keepsResiduals ? call.make(1) : undefined;
  const assignments = sortAssignments(call, problem.indices, problem.experts);
  if (hidden) clearRest(call, problem, assignments, hidden.address);
  const source = sourceOf(call, problem, assignments);
  const up = runUp(call, problem, assignments, source, hidden?.address ?? 0);
  const { outputSize } = problem;
  const rows = call.temporary(assignments.live * outputSize * 4);
  runDown(call, problem, assignments, up, rows);
  combine(call, problem, assignments, rows, outputSize, output.address, {
    weights: problem.outputWeights.address,
    bias: problem.downBias?.address ?? 0,
  });
  return hidden ? [output, hidden] : [output];
};

/** The tokens' rows where they are, or times their weights. */
function sourceOf(
  call: KernelCall,
  { x, choices, inputSize, inputWeights }: FfnProblem,
  assignments: Assignments,
): RowSource {
  const table = tokenRows(call, assignments, choices, x.address, inputSize * 4);
  if (inputWeights === undefined) return { address: table, gathered: true };
  const rows = { table, columns: inputSize };
  return { address: scaled(call, assignments, rows, inputWeights.address), gathered: false };
}

function runDown(
  call: KernelCall,
  problem: FfnProblem,
  { groups }: Assignments,
  { activations }: UpOutput,
  out: number,
): void {
  const { down, inner, innerPitch, outputSize } = problem;
  const codes = downCodes(problem);
  const packed = codes && packCodesOf(call, codes);
  const right = packed ?? packWeights(call, down, downFactor(problem));
  const leftStride = innerPitch * 4;
  const segments = groups
    .filter(({ rows }) => rows > 0)
    .map(({ group, first, rows }) => ({
      left: activations + first * leftStride,
      right: right.address + group * right.matrixBytes,
      rows,
      row: first,
      group,
      inner,
      columns: outputSize,
      leftStep: leftStride,
    }));
  const launch = { segments, leftStride, out, outStride: outputSize * 4 };
  if (codes && packed) launchCodesProduct(call, rowsCodesProduct, codes, packed, launch, {});
  else launchProduct(call, rowsProduct, launch, {});
}

/** Zeros for the rows of the residual that no assignment has. */
function clearRest(
  call: KernelCall,
  { tokens, choices, hiddenSize }: FfnProblem,
  { live }: Assignments,
  hidden: number,
): void {
  const bytes = hiddenSize * 4;
  const rest = (tokens * choices - live) * bytes;
  new Uint8Array(call.view.buffer, hidden + live * bytes, rest).fill(0);
}
