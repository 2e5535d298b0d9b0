import type { Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, f32, read, u32, write } from "../../program.ts";
import { laneSum, planRows } from "./rows.ts";
import { type RowTensor, rowWindows } from "./windows.ts";

/** Rows of which one invocation adds up a column. */
const BLOCK = 64;

/** `rmsNorm`; its residual is `rstd`. */
export const rmsNorm: Kernel = (call) => {
  const x = call.input(0);
  const weight = call.input(1);
  const { epsilon } = call.attributes<{ epsilon: number }>();
  const width = weight.size;
  const keeps = call.keepsResiduals;
  const outputs = keeps ? [call.make(0), call.make(1)] : [call.make(0)];
  const [y, rstd] = outputs;
  const rows = x.shape.slice(0, -1).reduce((product, size) => product * size, 1);
  const tensors: Record<string, RowTensor> = {
    x: { handle: x.handle, access: "read", type: "f32", width },
  };
  if (y) tensors["y"] = { handle: y, access: "write", type: "f32", width };
  if (rstd) tensors["rstd"] = { handle: rstd, access: "write", type: "f32", width: 1 };
  const plan = planRows(call.context, width);
  for (const window of rowWindows(call.context, rows, tensors, weight.handle.blocks.length)) {
    call.dispatch(
      {
        name: "rmsNorm",
        variant: `${plan.lanes},${keeps}`,
        workgroupSize: plan.workgroupSize,
        operands: { ...window.operands, weight: read(weight.handle, "f32") },
        params: { ...window.params, width: u32(width), epsilon: f32(epsilon) },
        text: () => ({
          declarations: window.accessors + plan.declarations,
          main: `${plan.begin}
let base = (params.first + row) * params.width;
${laneSum("part_sum", "params.width", "value * value", { before: "let value = get_x(base + i);" })}
let sum = row_sum(lane, part_sum);
let scale = inverseSqrt(sum / f32(max(params.width, 1u)) + params.epsilon);
for (var i = lane; i < params.width; i += LANES) {
  put_y(base + i, get_x(base + i) * scale * load_weight(i));
}
${keeps ? "if (lane == 0u) { put_rstd(params.first + row, scale); }" : ""}`,
        }),
      },
      plan.extent(window.rows),
    );
  }
  return outputs;
};

/** `rmsNormBackward`. */
export const rmsNormBackward: Kernel = (call) => {
  const [dx, dWeight] = [call.make(0), call.make(1)];
  const x = call.input(0);
  const width = call.outputSize(1);
  const rows = x.shape.slice(0, -1).reduce((product, size) => product * size, 1);
  inputGradient(call, dx, rows, width);
  weightGradient(call, dWeight, rows, width);
  return [dx, dWeight];
};

function inputGradient(call: KernelCall, dx: GpuHandle, rows: number, width: number): void {
  const [x, weight, rstd, gradient] = [call.input(0), call.input(1), call.input(2), call.input(3)];
  const plan = planRows(call.context, width);
  const windows = rowWindows(
    call.context,
    rows,
    {
      x: { handle: x.handle, access: "read", type: "f32", width },
      g: { handle: gradient.handle, access: "read", type: "f32", width },
      rstd: { handle: rstd.handle, access: "read", type: "f32", width: 1 },
      dx: { handle: dx, access: "write", type: "f32", width },
    },
    weight.handle.blocks.length,
  );
  for (const window of windows) {
    call.dispatch(
      {
        name: "rmsNormBackward",
        variant: `${plan.lanes}`,
        workgroupSize: plan.workgroupSize,
        operands: { ...window.operands, weight: read(weight.handle, "f32") },
        params: { ...window.params, width: u32(width) },
        text: () => ({
          declarations: window.accessors + plan.declarations,
          main: `${plan.begin}
let base = (params.first + row) * params.width;
let scale = get_rstd(params.first + row);
${laneSum("part_sum", "params.width", "get_g(base + i) * load_weight(i) * (get_x(base + i) * scale)")}
let mean = row_sum(lane, part_sum) / f32(max(params.width, 1u));
for (var i = lane; i < params.width; i += LANES) {
  let along = get_x(base + i) * scale * mean;
  put_dx(base + i, scale * (get_g(base + i) * load_weight(i) - along));
}`,
        }),
      },
      plan.extent(window.rows),
    );
  }
}

/** Columns of `g · x · rstd` added up: 64 rows each, then 64 of those sums each, to the end. */
function weightGradient(call: KernelCall, target: GpuHandle, rows: number, width: number): void {
  const [x, rstd, gradient] = [call.input(0), call.input(2), call.input(3)];
  let left = Math.max(Math.ceil(rows / BLOCK), 1);
  let sums = left === 1 ? target : call.temporary({ shape: [left * width], dtype: "f32" });
  const windows = rowWindows(
    call.context,
    Math.max(rows, 1),
    {
      x: { handle: x.handle, access: "read", type: "f32", width },
      g: { handle: gradient.handle, access: "read", type: "f32", width },
      rstd: { handle: rstd.handle, access: "read", type: "f32", width: 1 },
    },
    sums.blocks.length,
  );
  for (const window of windows) {
    const first = window.params["first"]?.value ?? 0;
    const blocks = Math.ceil((first + window.rows) / BLOCK) - Math.floor(first / BLOCK);
    call.dispatch(
      {
        name: "rmsNormWeightGradient",
        operands: { ...window.operands, sums: write(sums, "f32") },
        params: { ...window.params, width: u32(width), total: u32(rows), blocks: u32(blocks) },
        text: () => ({
          declarations: window.accessors,
          main: `if (index >= params.blocks * params.width) { return; }
let column = index % params.width;
let block = params.first / ${BLOCK}u + index / params.width;
let begin = max(block * ${BLOCK}u, params.first);
let end = min(min(block * ${BLOCK}u + ${BLOCK}u, params.first + params.rows), params.total);
let place = block * params.width + column;
// A block that goes on from an earlier window continues its sum.
var sum = 0.0;
if (begin % ${BLOCK}u != 0u) { sum = load_sums(place); }
for (var row = begin; row < end; row++) {
  let at = row * params.width + column;
  sum += get_g(at) * (get_x(at) * get_rstd(row));
}
store_sums(place, sum);`,
        }),
      },
      { invocations: blocks * width },
    );
  }
  while (left > 1) {
    const next = Math.ceil(left / BLOCK);
    const joined = next === 1 ? target : call.temporary({ shape: [next * width], dtype: "f32" });
    const operands: Record<string, Operand> = { x: read(sums, "f32"), y: write(joined, "f32") };
    call.dispatch(
      {
        name: "rmsNormBlockSums",
        operands,
        params: { total: u32(left), width: u32(width) },
        text: () => ({
          main: `let column = index % params.width;
let begin = index / params.width * ${BLOCK}u;
if (begin >= params.total) { return; }
let end = min(begin + ${BLOCK}u, params.total);
var sum = 0.0;
for (var row = begin; row < end; row++) { sum += load_x(row * params.width + column); }
store_y(index, sum);`,
        }),
      },
      { invocations: next * width },
    );
    sums = joined;
    left = next;
  }
}
