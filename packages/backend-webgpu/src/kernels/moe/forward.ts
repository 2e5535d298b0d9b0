import type { Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, read } from "../../program.ts";
import { FEW_ROWS } from "../products/cut.ts";
import { type Factor, alignedLines, factorOf } from "../products/factor.ts";
import { multiplyGroups } from "../products/grouped-product.ts";
import { rowStore, storePair } from "../products/store.ts";
import { activationText, activationVariant } from "./activation.ts";
import { combineRows } from "./combine.ts";
import { decode, fitsDecode } from "./decode.ts";
import { halvesOf, storeActivations } from "./halves.ts";
import { biasText, rowFactor, rowParams } from "./parts.ts";
import { type FfnProblem, downBank, ffnProblem, upBank } from "./problem.ts";
import { roundActivations, roundedProblem } from "./rounded.ts";
import { ROW_FACTOR, type SortedRows, rowText, sortRows } from "./rows.ts";

/** `moeFfn`. */
export const moeFfn: Kernel = (call) => {
  const problem = roundedProblem(call, ffnProblem(call, 0));
  const y = call.make(0);
  const hidden = call.keepsResiduals ? call.make(1) : undefined;
  const { tokens } = problem;
  if (hidden === undefined && tokens <= FEW_ROWS && fitsDecode(call, problem)) {
    decode(call, problem, y);
    return [y];
  }
  const rows = (width: number): GpuHandle =>
    call.temporary({ shape: [problem.rows, width], dtype: "f32" });
  const outputs = rows(problem.outputSize);
  const sorted = sortRows(call, problem);
  if (problem.rows > 0) {
    const activations = rows(problem.innerSize);
    projectUp(call, problem, sorted, activations, hidden);
    roundActivations(call, problem, activations);
    projectDown(call, problem, sorted, activations, outputs);
  }
  combineRows(call, {
    tokens,
    choices: problem.choices,
    width: problem.outputSize,
    rows: outputs,
    places: { inverse: sorted.inverse },
    factors: problem.outputWeights.handle,
    target: y,
  });
  return hidden ? [y, hidden] : [y];
};

/** Tokens, picked by the rows' order and weighted, as the left factor of a product over H. */
function tokenFactor(problem: FfnProblem): Factor {
  const { x, inputSize, inputWeights, rowPerChoice } = problem;
  return factorOf({
    name: "x",
    dtype: "f32",
    order: "rows",
    aligned: alignedLines(x.handle, inputSize),
    whole: inputSize % 4 === 0,
    stride: "params.inner",
    shift: "0u",
    last: "params.rows - 1u",
    line: (row) => (rowPerChoice ? `choice_of(${row})` : `token_of(${row})`),
    scale: inputWeights && ((row) => `factor_of(${row})`),
    variant: inputWeights ? "weighted" : rowPerChoice ? "choice" : "token",
  });
}

function projectUp(
  call: KernelCall,
  problem: FfnProblem,
  { cut, tiling, plan }: SortedRows,
  activations: GpuHandle,
  hidden: GpuHandle | undefined,
): void {
  const { x, upBias, inputWeights, descriptor, innerSize, hiddenSize } = problem;
  const halves = halvesOf(problem);
  const left = tokenFactor(problem);
  const act = rowStore("act", activations, innerSize);
  const keptWidth = halves.columns ? innerSize : hiddenSize;
  const kept = hidden && rowStore("kept", hidden, keptWidth);
  const [first, second] = halves.columns?.("pair") ?? ["pair * 8u", "pair * 8u + 4u"];
  const operands: Record<string, Operand> = {
    x: read(x.handle, left.type),
    act: act.operand,
    ...(upBias && { bias: read(upBias.handle, "f32") }),
    ...(inputWeights && { factors: read(inputWeights.handle, "f32") }),
    ...(kept && { kept: kept.operand }),
  };
  multiplyGroups(call, {
    name: "moeUp",
    variant: [
      halves.variant,
      activationVariant(descriptor),
      act.variant,
      kept?.variant ?? "",
      upBias ? "bias" : "",
    ].join(";"),
    cut,
    tiling,
    plan,
    left,
    bank: upBank(problem),
    operands,
    params: rowParams(problem),
    pairs: halves.pairs,
    columns: halves.columns,
    declarations: `${rowText("plan")}
${inputWeights ? ROW_FACTOR : ""}
${act.declarations}
${kept?.declarations ?? ""}
${biasText(upBias !== undefined)}
${activationText(descriptor)}`,
    store: `let h0 = biased(v0, owner, ${first});
  let h1 = biased(v1, owner, ${second});
  ${storeActivations(problem, kept !== undefined)}`,
  });
}

function projectDown(
  call: KernelCall,
  problem: FfnProblem,
  { cut, tiling, plan }: SortedRows,
  activations: GpuHandle,
  outputs: GpuHandle,
): void {
  const { downBias, innerSize, outputSize } = problem;
  const left = rowFactor("act", activations, innerSize);
  const store = rowStore("y", outputs, outputSize);
  multiplyGroups(call, {
    name: "moeDown",
    variant: `${store.variant};${downBias ? "bias" : ""}`,
    cut,
    tiling,
    plan,
    left,
    bank: downBank(problem),
    operands: {
      act: read(activations, left.type),
      y: store.operand,
      ...(downBias && { bias: read(downBias.handle, "f32") }),
    },
    params: rowParams(problem),
    declarations: `${store.declarations}\n${biasText(downBias !== undefined)}`,
    store: storePair("row * params.columns", (sum, column) => `biased(${sum}, owner, ${column})`),
  });
}
