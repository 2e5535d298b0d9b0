import type { Kernel, KernelCall } from "../../kernel.ts";
import { packHeld, readsRounded, rowsHeldProduct } from "../held.ts";
import { roundedRows } from "../rounded/index.ts";
import { type Assignments, sortAssignments, tokenRows } from "./assignments.ts";
import { combine } from "./combine.ts";
import { type FfnProblem, downHeld, readProblem } from "./problem.ts";
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

/** The tokens' rows where they are, or times their weights; rounded where products read such rows. */
function sourceOf(call: KernelCall, problem: FfnProblem, assignments: Assignments): RowSource {
  const { x, tokens, choices, inputSize, inputWeights } = problem;
  const floats = { address: x.address, stride: inputSize * 4 };
  const rounded = readsRounded(problem.descriptor);
  if (inputWeights === undefined) {
    const rows = rounded ? roundedRows(call, floats, tokens, inputSize) : floats;
    const address = tokenRows(call, assignments, choices, rows.address, rows.stride);
    return { address, gathered: true, stride: rows.stride };
  }
  const table = tokenRows(call, assignments, choices, x.address, floats.stride);
  const address = scaled(call, assignments, { table, columns: inputSize }, inputWeights.address);
  const weighted = { ...floats, address };
  const rows = rounded ? roundedRows(call, weighted, assignments.live, inputSize) : weighted;
  return { ...rows, gathered: false };
}

function runDown(
  call: KernelCall,
  problem: FfnProblem,
  { groups, live }: Assignments,
  { activations }: UpOutput,
  out: number,
): void {
  const { inner, innerPitch, outputSize } = problem;
  const weights = packHeld(call, downHeld(problem));
  const floats = { address: activations, stride: innerPitch * 4 };
  const rounded = readsRounded(problem.descriptor);
  const left = rounded ? roundedRows(call, floats, live, inner) : floats;
  const { stride: leftStride } = left;
  const segments = groups
    .filter(({ rows }) => rows > 0)
    .map(({ group, first, rows }) => ({
      left: left.address + first * leftStride,
      rows,
      row: first,
      group,
      inner,
      leftStep: leftStride,
    }));
  const launch = { segments, leftStride, out, outStride: outputSize * 4 };
  weights.launch(rowsHeldProduct, launch, {});
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
