import type { Kernel, KernelCall } from "../../kernel.ts";
import { type RightFactor, launchProduct, packWeights } from "../products/index.ts";
import type { ColumnFactor } from "../products/left.ts";
import { rowsProduct } from "../products/plain.ts";
import { multiplyColumns, rowsOf } from "../products/weight-gradient.ts";
import type { WasmBuffer } from "../../memory.ts";
import { type Assignments, sortAssignments, tokenRows } from "./assignments.ts";
import { runActivationBack } from "./backward-rows.ts";
import { combine } from "./combine.ts";
import { type FfnProblem, downFactor, readProblem, storedUpFactor, turned } from "./problem.ts";
import { addBiasDots, dots, scaled, sums } from "./row-work.ts";

/** Numbers of the outputs, in the op's order. */
const OUTPUTS = {
  x: 0,
  outputWeights: 1,
  up: 2,
  down: 3,
  upBias: 4,
  downBias: 5,
  inputWeights: 6,
} as const;

/** All gradients of the fused FFN. */
export const moeFfnBackward: Kernel = (call) => {
  const problem = readProblem(call, 2);
  const outputs = call.specs.map((_, index) => call.make(index));
  const assignments = sortAssignments(call, problem.indices, problem.experts);
  const pass = { call, problem, assignments, outputs };
  const rows = backToHidden(pass);
  upGradients(pass, rows);
  downGradients(pass, rows);
  inputGradients(pass, rows);
  return outputs;
};

interface Pass {
  readonly call: KernelCall;
  readonly problem: FfnProblem;
  readonly assignments: Assignments;
  readonly outputs: readonly WasmBuffer[];
}

/** Rows of experts, that are a product's columns. */
interface ColumnRows {
  /** Address of the first row, or of a table of the rows' addresses. */
  readonly source: number;
  /** Numbers in a row. */
  readonly rows: number;
  /** Bytes from one row, or entry of the table, to the next. */
  readonly stride: number;
  readonly gathered: boolean;
}

/** What the gradients of weights and inputs are made of; addresses. */
interface HiddenGradients {
  /** For each row the address of its token's gradient. */
  readonly gradients: number;
  /** For each row the address of its token's input. */
  readonly inputs: number;
  /** Activations times the weights of outputs, `innerPitch` floats apart. */
  readonly activations: number;
  /** Gradients of the up projection's sums, `[live, hiddenSize]`. */
  readonly hidden: number;
}

function addressOf({ outputs }: Pass, name: keyof typeof OUTPUTS): number {
  return outputs[OUTPUTS[name]]?.address ?? 0;
}

/** From the outputs' gradient to that of the up projection's sums. */
function backToHidden(pass: Pass): HiddenGradients {
  const { call, problem, assignments } = pass;
  const { live } = assignments;
  const { x, choices, inputSize, hiddenSize, innerPitch, outputSize, downBias } = problem;
  const [gradient, residual] = [call.input(0), call.input(1)];
  const gradients = tokenRows(call, assignments, choices, gradient.address, outputSize * 4);
  const inputs = tokenRows(call, assignments, choices, x.address, inputSize * 4);
  const activations = call.temporary(live * innerPitch * 4);
  const source = { address: gradients, gathered: true, stride: 0 };
  multiplyRows(pass, turned(downFactor(problem)), "down", source, activations, innerPitch);
  const hidden = call.temporary(live * hiddenSize * 4);
  const dWeights = addressOf(pass, "outputWeights");
  new Uint8Array(call.view.buffer, dWeights, problem.tokens * choices * 4).fill(0);
  runActivationBack(call, problem, assignments, {
    gradients: activations,
    hidden: residual.address,
    to: hidden,
    dWeights,
  });
  if (downBias) {
    const rows = { table: gradients, columns: outputSize };
    addBiasDots(call, assignments, rows, downBias.address, problem.indices.address, dWeights);
  }
  return { gradients, inputs, activations, hidden };
}

function upGradients(pass: Pass, { inputs, hidden }: HiddenGradients): void {
  const { call, problem, assignments } = pass;
  const { inputSize, hiddenSize, inputWeights, upBias } = problem;
  const stride = hiddenSize * 4;
  const rows: ColumnRows = { source: hidden, rows: hiddenSize, stride, gathered: false };
  const table = { table: inputs, columns: inputSize };
  const x: ColumnRows = inputWeights
    ? {
        source: scaled(call, assignments, table, inputWeights.address),
        rows: inputSize,
        stride: inputSize * 4,
        gathered: false,
      }
    : { source: inputs, rows: inputSize, stride: 4, gathered: true };
  multiplyByDescriptor(pass, rows, x, addressOf(pass, "up"));
  if (upBias === undefined) return;
  const summed = { table: 0, rows: hidden, stride, columns: hiddenSize, weights: 0 };
  sums(call, assignments, summed, addressOf(pass, "upBias"));
}

function downGradients(pass: Pass, { gradients, activations }: HiddenGradients): void {
  const { call, problem, assignments } = pass;
  const { inner, innerPitch, outputSize, outputWeights, downBias } = problem;
  const rows: ColumnRows = { source: gradients, rows: outputSize, stride: 4, gathered: true };
  const stride = innerPitch * 4;
  const inside: ColumnRows = { source: activations, rows: inner, stride, gathered: false };
  multiplyByDescriptor(pass, rows, inside, addressOf(pass, "down"));
  if (downBias === undefined) return;
  const weights = outputWeights.address;
  const summed = { table: gradients, rows: 0, stride: 0, columns: outputSize, weights };
  sums(call, assignments, summed, addressOf(pass, "downBias"));
}

function inputGradients(pass: Pass, { inputs, hidden }: HiddenGradients): void {
  const { call, problem, assignments } = pass;
  const { live } = assignments;
  const { inputSize, hiddenSize, inputWeights, tokens, choices } = problem;
  const rows = call.temporary(live * inputSize * 4);
  const source = { address: hidden, gathered: false, stride: hiddenSize * 4 };
  multiplyRows(pass, turned(storedUpFactor(problem)), "up", source, rows, inputSize);
  const factors = { weights: inputWeights?.address ?? 0, bias: 0 };
  combine(call, problem, assignments, rows, inputSize, addressOf(pass, "x"), factors);
  if (inputWeights === undefined) return;
  const to = addressOf(pass, "inputWeights");
  new Uint8Array(call.view.buffer, to, tokens * choices * 4).fill(0);
  dots(call, assignments, { table: inputs, columns: inputSize }, rows, to);
}

/** Sums over the rows of each expert of `out ⊗ into`, stored as the matrices are. */
function multiplyByDescriptor(
  { call, problem, assignments }: Pass,
  out: ColumnRows,
  into: ColumnRows,
  to: number,
): void {
  if (out.rows === 0 || into.rows === 0) return;
  const { transposed = false } = problem.descriptor;
  const { groups } = assignments;
  const [left, right] = (transposed ? [into, out] : [out, into]).map((part) =>
    rowsOf(groups, part.source, part.rows, part.stride, part.gathered),
  ) as [ColumnFactor, ColumnFactor];
  multiplyColumns(call, groups, left, right, to);
}

/** Sorted rows times the matrices of their experts: `[live, pitch]`. */
function multiplyRows(
  { call, problem, assignments }: Pass,
  factor: RightFactor,
  matrices: "up" | "down",
  source: { readonly address: number; readonly gathered: boolean; readonly stride: number },
  out: number,
  pitch: number,
): void {
  const right = packWeights(call, problem[matrices], factor);
  const leftStep = source.gathered ? 4 : source.stride;
  const segments = assignments.groups
    .filter(({ rows }) => rows > 0)
    .map(({ group, first, rows }) => ({
      left: source.address + first * leftStep,
      right: right.address + group * right.matrixBytes,
      rows,
      row: first,
      group,
      inner: right.inner,
      columns: right.columns,
      leftStep,
    }));
  const { gathered, stride: leftStride } = source;
  const launch = { segments, leftStride, gathered, out, outStride: pitch * 4 };
  launchProduct(call, rowsProduct, launch, {});
}
