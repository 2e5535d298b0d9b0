import { type FfnDescriptor, UnsupportedError, ffnSizes } from "@moiety/core";
import type { KernelCall, Operand } from "../../kernel.ts";
import { type HeldWeights, codesMatrix, heldFactorDType } from "../held.ts";
import type { RightFactor } from "../products/index.ts";
import type { CodesMatrix } from "../quantized/index.ts";

/** A call of the fused FFN or of its backward, with its sizes read. */
export interface FfnProblem {
  readonly descriptor: FfnDescriptor;
  readonly x: Operand;
  readonly indices: Operand;
  readonly outputWeights: Operand;
  readonly up: Operand;
  readonly down: Operand;
  readonly upBias: Operand | undefined;
  readonly downBias: Operand | undefined;
  readonly inputWeights: Operand | undefined;
  /** Scales of weights that are held in codes. */
  readonly upScales: Operand | undefined;
  readonly downScales: Operand | undefined;
  /** T, k, E. */
  readonly tokens: number;
  readonly choices: number;
  readonly experts: number;
  /** H. */
  readonly inputSize: number;
  /** I. */
  readonly inner: number;
  /** I, or 2I where it is gated. */
  readonly hiddenSize: number;
  /** O. */
  readonly outputSize: number;
  /** Floats from one row of activations to the next: I in whole panels, so that stores need no tails. */
  readonly innerPitch: number;
}

/** Columns of a panel. */
const PANEL = 8;

/** Reads the call, whose x is input number `first`. Throws {@link UnsupportedError}. */
export function readProblem(call: KernelCall, first: number): FfnProblem {
  const { descriptor } = call.attributes<{ descriptor: FfnDescriptor }>();
  const [x, indices, outputWeights, up, down] = [0, 1, 2, 3, 4].map((index) =>
    call.input(first + index),
  ) as [Operand, Operand, Operand, Operand, Operand];
  const op = call.op.name;
  const { format } = descriptor;
  const [upScales, downScales] = [call.optional(first + 8), call.optional(first + 9)];
  if (format !== undefined && (upScales === undefined || downScales === undefined)) {
    throw new UnsupportedError(`${op} has no kernel for weights in ${format}`, format, { op });
  }
  const sizes = ffnSizes(up.shape, down.shape, descriptor);
  const { hiddenSize } = sizes;
  const inner = descriptor.gate ? hiddenSize / 2 : hiddenSize;
  const [tokens = 0, choices = 0] = indices.shape;
  return {
    descriptor,
    x,
    indices,
    outputWeights,
    up,
    down,
    upBias: call.optional(first + 5),
    downBias: call.optional(first + 6),
    inputWeights: call.optional(first + 7),
    upScales,
    downScales,
    tokens,
    choices,
    ...sizes,
    inner,
    innerPitch: Math.ceil(inner / PANEL) * PANEL,
  };
}

/** Where the halves of a gated projection are among its columns: of each the first, and the step. */
export interface Halves {
  readonly gate: number;
  readonly up: number;
  readonly step: 1 | 2;
}

/** How gate and up lie; undefined in a plain bank. */
export function halvesOf({ descriptor, inner }: FfnProblem): Halves | undefined {
  const { gate } = descriptor;
  if (!gate) return undefined;
  const step = gate.packing === "interleaved" ? 2 : 1;
  const second = step === 2 ? 1 : inner;
  return gate.first === "gate" ? { gate: 0, up: second, step } : { gate: second, up: 0, step };
}

/** The up projection as the right factor of x: gates and what they gate side by side. */
function upFactor(problem: FfnProblem): RightFactor {
  const { up, hiddenSize, inputSize, inner } = problem;
  const halves = halvesOf(problem);
  const plain = matrixFactor(problem, up, hiddenSize, inputSize);
  if (halves === undefined) return plain;
  const { columnStride } = plain;
  return {
    ...plain,
    columns: inner,
    columnStride: columnStride * halves.step,
    kinds: [halves.gate * columnStride, halves.up * columnStride],
  };
}

/** The down projection as the right factor of activations. */
export function downFactor(problem: FfnProblem): RightFactor {
  const { down, outputSize, inner } = problem;
  return matrixFactor(problem, down, outputSize, inner);
}

/** The up projection as it is held. */
export function upHeld(problem: FfnProblem): HeldWeights {
  const { up: weights, descriptor } = problem;
  const factor = (): RightFactor => upFactor(problem);
  return { weights, format: descriptor.format, factor, codes: upCodes(problem) };
}

/** The down projection as it is held. */
export function downHeld(problem: FfnProblem): HeldWeights {
  const { down: weights, descriptor } = problem;
  const factor = (): RightFactor => downFactor(problem);
  return { weights, format: descriptor.format, factor, codes: downCodes(problem) };
}

/** The up projection, where it is held in codes. */
function upCodes(problem: FfnProblem): CodesMatrix | undefined {
  const { up, upScales, hiddenSize, inputSize, inner } = problem;
  const plain = matrixCodes(problem, up, upScales, hiddenSize, inputSize);
  const halves = halvesOf(problem);
  if (plain === undefined || halves === undefined) return plain;
  return { ...plain, columns: inner, step: halves.step, kinds: [halves.gate, halves.up] };
}

/** The down projection, where it is held in codes. */
function downCodes(problem: FfnProblem): CodesMatrix | undefined {
  const { down, downScales, outputSize, inner } = problem;
  return matrixCodes(problem, down, downScales, outputSize, inner);
}

function matrixCodes(
  { descriptor, experts }: FfnProblem,
  codes: Operand,
  scales: Operand | undefined,
  columns: number,
  inner: number,
): CodesMatrix | undefined {
  const { format, transposed = false } = descriptor;
  if (format === undefined || scales === undefined) return undefined;
  const shape = { matrices: experts, inner, stored: columns, columns };
  return codesMatrix(format, { codes, scales, ...shape, transposed, step: 1 });
}

/** A projection's matrices, turned: the right factor of gradients of what it gives. */
export function turned(factor: RightFactor): RightFactor {
  const { inner, innerStride, columns, columnStride } = factor;
  return {
    ...factor,
    inner: columns,
    innerStride: columnStride,
    columns: inner,
    columnStride: innerStride,
  };
}

/** The up projection with its columns in the order in which they are stored. */
export function storedUpFactor(problem: FfnProblem): RightFactor {
  const { up, hiddenSize, inputSize } = problem;
  return matrixFactor(problem, up, hiddenSize, inputSize);
}

function matrixFactor(
  { descriptor, experts }: FfnProblem,
  weights: Operand,
  columns: number,
  inner: number,
): RightFactor {
  const { transposed = false } = descriptor;
  return {
    dtype: heldFactorDType("moeFfn", weights),
    matrices: experts,
    matrixStride: columns * inner,
    inner,
    innerStride: transposed ? columns : 1,
    columns,
    columnStride: transposed ? 1 : inner,
  };
}
