import type { Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, read, u32, write } from "../../program.ts";
import { alignedLines, factorOf } from "../products/factor.ts";
import { multiplyGroups } from "../products/grouped-product.ts";
import { rowStore, storePair } from "../products/store.ts";
import { addOuterProducts } from "../products/weight-gradient.ts";
import { activationText, activationVariant } from "./activation.ts";
import { combineRows } from "./combine.ts";
import { rowFactor, rowParams } from "./parts.ts";
import { type FfnProblem, downBank, ffnProblem, turned, upBank } from "./problem.ts";
import { ROW_FACTOR, ROW_TEXT, type SortedRows, sortRows } from "./rows.ts";
import { dotChoices, sumGroups } from "./sums.ts";

/** Places of the outputs of `moeFfnBackward`. */
const OUTPUT = {
  x: 0,
  outputWeights: 1,
  up: 2,
  down: 3,
  upBias: 4,
  downBias: 5,
  inputWeights: 6,
} as const;

/** `[A, ·]` buffers that the way back passes through, in sorted rows. */
interface Passed {
  /** `[A, I]`: gradients of the activations, without the output weights. */
  readonly activationGradients: GpuHandle;
  /** `[A, I]`. */
  readonly activations: GpuHandle;
  /** `[A, I or 2I]`: gradients of the up projection's output, weighted. */
  readonly hiddenGradients: GpuHandle;
}

/**
 * `moeFfnBackward`. The assignments are sorted anew, into the same rows as forward. Sums over rows
 * go through them in order; nothing is added atomically.
 */
export const moeFfnBackward: Kernel = (call) => {
  const [gradient, hidden] = [call.input(0), call.input(1)];
  const problem = ffnProblem(call, 2);
  const outputs = Object.values(OUTPUT).map((place) => call.make(place));
  const { rows, innerSize, hiddenSize } = problem;
  const buffer = (width: number): GpuHandle =>
    call.temporary({ shape: [rows, width], dtype: "f32" });
  const sorted = sortRows(call, problem);
  const passed: Passed = {
    activationGradients: buffer(innerSize),
    activations: buffer(innerSize),
    hiddenGradients: buffer(hiddenSize),
  };
  const out = (place: keyof typeof OUTPUT): GpuHandle => outputs[OUTPUT[place]] as GpuHandle;
  if (rows > 0) {
    throughDown(call, problem, sorted, gradient.handle, passed.activationGradients);
    throughActivation(call, problem, sorted, hidden.handle, passed);
  }
  weighOutputs(call, problem, sorted, gradient.handle, passed, out("outputWeights"));
  sumWeights(call, problem, sorted, gradient.handle, passed, out("up"), out("down"));
  sumBiases(call, problem, sorted, gradient.handle, passed, outputs);
  toTokens(call, problem, sorted, passed.hiddenGradients, out("x"), out("inputWeights"));
  return outputs;
};

/** Gradients of the activations: each row's token's gradient times its expert's down projection. */
function throughDown(
  call: KernelCall,
  problem: FfnProblem,
  { order, cut, tiling, plan }: SortedRows,
  gradient: GpuHandle,
  target: GpuHandle,
): void {
  const { outputSize, innerSize } = problem;
  const left = factorOf({
    name: "dy",
    dtype: "f32",
    order: "rows",
    aligned: alignedLines(gradient, outputSize),
    whole: outputSize % 4 === 0,
    stride: "params.inner",
    shift: "0u",
    last: "params.rows - 1u",
    line: (row) => `token_of(${row})`,
    variant: "token",
  });
  const store = rowStore("y", target, innerSize);
  multiplyGroups(call, {
    name: "moeDownBackward",
    variant: store.variant,
    cut,
    tiling,
    plan,
    left,
    bank: turned(downBank(problem)),
    operands: {
      dy: read(gradient, left.type),
      order: read(order, "u32"),
      y: store.operand,
    },
    params: rowParams(problem),
    declarations: `${ROW_TEXT}\n${store.declarations}`,
    store: storePair("row * params.columns"),
  });
}

/** Through the part between the projections; the activations are computed again. */
function throughActivation(
  call: KernelCall,
  problem: FfnProblem,
  { order }: SortedRows,
  hidden: GpuHandle,
  { activationGradients, activations, hiddenGradients }: Passed,
): void {
  const { descriptor, rows, innerSize, hiddenSize, outputWeights } = problem;
  const quads = Math.ceil(innerSize / 4);
  const concatenated = descriptor.gate?.packing === "concatenated";
  const place = concatenated ? ["c", "params.innerSize + c"] : ["2u * c", "2u * c + 1u"];
  const [first, second] = descriptor.gate ? place : ["c", "c"];
  call.dispatch(
    {
      name: "moeActivationBackward",
      variant: activationVariant(descriptor),
      operands: {
        hidden: read(hidden, "f32"),
        da: read(activationGradients, "f32"),
        order: read(order, "u32"),
        factors: read(outputWeights.handle, "f32"),
        act: write(activations, "f32"),
        dh: write(hiddenGradients, "f32"),
      },
      params: { ...rowParams(problem), quads: u32(quads), width: u32(hiddenSize) },
      text: () => ({
        declarations: `${ROW_TEXT}${ROW_FACTOR}
${activationText(descriptor)}`,
        main: `if (index >= params.rows * params.quads) { return; }
let row = index / params.quads;
let column = (index % params.quads) * 4u;
let factor = factor_of(row);
var a: vec4<f32>; var b: vec4<f32>; var d: vec4<f32>;
for (var i = 0u; i < 4u; i++) {
  let c = min(column + i, params.innerSize - 1u);
  a[i] = load_hidden(row * params.width + ${first});
  b[i] = load_hidden(row * params.width + ${second});
  d[i] = load_da(row * params.innerSize + c);
}
let back = between_back(a, b, factor * d);
for (var i = 0u; i < 4u; i++) {
  let c = column + i;
  if (c >= params.innerSize) { return; }
  store_act(row * params.innerSize + c, back.value[i]);
  store_dh(row * params.width + ${first}, back.first[i]);
  ${descriptor.gate ? `store_dh(row * params.width + ${second}, back.second[i]);` : ""}
}`,
      }),
    },
    { invocations: rows * quads },
  );
}

/** Gradients of the output weights: what a choice gave, on the gradient of its token. */
function weighOutputs(
  call: KernelCall,
  problem: FfnProblem,
  { inverse, group }: SortedRows,
  gradient: GpuHandle,
  { activationGradients, activations }: Passed,
  target: GpuHandle,
): void {
  const { downBias, innerSize, outputSize } = problem;
  dotChoices(call, problem, {
    name: "moeOutputWeights",
    inverse,
    width: innerSize,
    operands: { da: read(activationGradients, "f32"), act: read(activations, "f32") },
    term: (row, _token, i) =>
      `load_da(${row} * params.width + ${i}) * load_act(${row} * params.width + ${i})`,
    target,
    ...(downBias && {
      extra: {
        width: outputSize,
        operands: {
          dy: read(gradient, "f32"),
          bias: read(downBias.handle, "f32"),
          member: read(group, "u32"),
        },
        term: (row, token, i) =>
          `load_dy(${token} * params.extra + ${i}) * load_bias(load_member(${row}) * params.extra + ${i})`,
      },
    }),
  });
}

/** Gradients of both banks. */
function sumWeights(
  call: KernelCall,
  problem: FfnProblem,
  { order, offsets }: SortedRows,
  gradient: GpuHandle,
  { activations, hiddenGradients }: Passed,
  up: GpuHandle,
  down: GpuHandle,
): void {
  const { x, experts, descriptor, inputSize, hiddenSize, innerSize, outputSize } = problem;
  const { outputWeights, inputWeights } = problem;
  const starts = `fn start_of(g: u32) -> u32 { return min(load_offsets(g), params.rows); }`;
  const operands = (factors: GpuHandle | undefined): Record<string, Operand> => ({
    offsets: read(offsets, "u32"),
    order: read(order, "u32"),
    ...(factors && { factors: read(factors, "f32") }),
  });
  const turnedLayout = descriptor.transposed ?? false;
  const outer = {
    handle: gradient,
    width: outputSize,
    line: (row: string) => `token_of(${row})`,
    scale: (row: string) => `factor_of(${row})`,
  };
  const inner = { handle: activations, width: innerSize, line: (row: string) => row };
  addOuterProducts(call, {
    name: "moeDownGradient",
    variant: `${turnedLayout}`,
    left: turnedLayout ? inner : outer,
    right: turnedLayout ? outer : inner,
    groups: experts,
    output: down,
    operands: operands(outputWeights.handle),
    params: rowParams(problem),
    declarations: `${starts}${ROW_TEXT}${ROW_FACTOR}`,
  });
  const tokens = {
    handle: x.handle,
    width: inputSize,
    line: (row: string) => `token_of(${row})`,
    scale: inputWeights && ((row: string) => `factor_of(${row})`),
  };
  const columns = { handle: hiddenGradients, width: hiddenSize, line: (row: string) => row };
  addOuterProducts(call, {
    name: "moeUpGradient",
    variant: `${turnedLayout};${inputWeights ? "weighted" : ""}`,
    left: turnedLayout ? tokens : columns,
    right: turnedLayout ? columns : tokens,
    groups: experts,
    output: up,
    operands: operands(inputWeights?.handle),
    params: rowParams(problem),
    declarations: `${starts}${ROW_TEXT}${inputWeights ? ROW_FACTOR : ""}`,
  });
}

/** Gradients of the biases that there are. */
function sumBiases(
  call: KernelCall,
  problem: FfnProblem,
  { order, offsets }: SortedRows,
  gradient: GpuHandle,
  { hiddenGradients }: Passed,
  outputs: readonly GpuHandle[],
): void {
  const { experts, hiddenSize, outputSize, upBias, downBias, outputWeights } = problem;
  if (upBias) {
    sumGroups(call, problem, {
      name: "moeUpBias",
      groups: experts,
      width: hiddenSize,
      offsets,
      operands: { dh: read(hiddenGradients, "f32") },
      declarations: "",
      term: (row, column) => `load_dh(${row} * params.width + ${column})`,
      target: outputs[OUTPUT.upBias] as GpuHandle,
    });
  }
  if (downBias) {
    sumGroups(call, problem, {
      name: "moeDownBias",
      groups: experts,
      width: outputSize,
      offsets,
      operands: {
        dy: read(gradient, "f32"),
        order: read(order, "u32"),
        factors: read(outputWeights.handle, "f32"),
      },
      declarations: `${ROW_TEXT}${ROW_FACTOR}`,
      term: (row, column) =>
        `factor_of(${row}) * load_dy(token_of(${row}) * params.width + ${column})`,
      target: outputs[OUTPUT.downBias] as GpuHandle,
    });
  }
}

/** Gradients of the tokens, and of the input weights where there are any. */
function toTokens(
  call: KernelCall,
  problem: FfnProblem,
  { cut, tiling, plan, inverse }: SortedRows,
  hiddenGradients: GpuHandle,
  dx: GpuHandle,
  dInputWeights: GpuHandle,
): void {
  const { rows, tokens, choices, inputSize, hiddenSize, inputWeights, x } = problem;
  const gathered = call.temporary({ shape: [rows, inputSize], dtype: "f32" });
  if (rows > 0) {
    const left = rowFactor("dh", hiddenGradients, hiddenSize);
    const store = rowStore("y", gathered, inputSize);
    multiplyGroups(call, {
      name: "moeUpBackward",
      variant: store.variant,
      cut,
      tiling,
      plan,
      left,
      bank: turned(upBank(problem)),
      operands: { dh: read(hiddenGradients, left.type), y: store.operand },
      params: rowParams(problem),
      declarations: store.declarations,
      store: storePair("row * params.columns"),
    });
  }
  combineRows(call, {
    tokens,
    choices,
    width: inputSize,
    rows: gathered,
    places: { inverse },
    factors: inputWeights?.handle,
    target: dx,
  });
  if (inputWeights) {
    dotChoices(call, problem, {
      name: "moeInputWeights",
      inverse,
      width: inputSize,
      operands: { x: read(x.handle, "f32"), dx: read(gathered, "f32") },
      term: (row, token, i) =>
        `load_x(${token} * params.width + ${i}) * load_dx(${row} * params.width + ${i})`,
      target: dInputWeights,
    });
  }
}
