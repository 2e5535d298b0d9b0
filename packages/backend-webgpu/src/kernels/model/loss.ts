import type { Kernel } from "../../kernel.ts";
import { u32 } from "../../program.ts";
import { functions } from "./functions.ts";
import { planRows } from "./rows.ts";
import { sumOfPowers } from "./softmax.ts";
import { type RowTensor, rowWindows } from "./windows.ts";

/** `crossEntropy`; its residual is the rows' logarithms of sums. */
export const crossEntropy: Kernel = (call) => {
  const logits = call.input(0);
  const targets = call.input(1);
  const [rows = 0, width = 0] = logits.shape;
  const keeps = call.keepsResiduals;
  const outputs = keeps ? [call.make(0), call.make(1)] : [call.make(0)];
  const [loss, residual] = outputs;
  const column = { type: "f32", width: 1, access: "write" } as const;
  const tensors: Record<string, RowTensor> = {
    x: { handle: logits.handle, access: "read", type: "f32", width },
    target: { handle: targets.handle, access: "read", type: "i32", width: 1 },
  };
  if (loss) tensors["loss"] = { ...column, handle: loss };
  if (residual) tensors["kept"] = { ...column, handle: residual };
  const plan = planRows(call.context, width);
  for (const window of rowWindows(call.context, rows, tensors)) {
    call.dispatch(
      {
        name: "crossEntropy",
        variant: `${plan.lanes},${keeps}`,
        workgroupSize: plan.workgroupSize,
        operands: window.operands,
        params: { ...window.params, width: u32(width) },
        text: () => ({
          declarations:
            window.accessors + plan.declarations + functions("exponential", "logarithm"),
          main: `${plan.begin}
let base = (params.first + row) * params.width;
${sumOfPowers("get_x(base + i)", "params.width")}
if (lane == 0u) {
  let place = params.first + row;
  let aim = get_target(place);
  let log_sum = logarithm(sum);
  var loss = 0.0;
  if (aim >= 0 && u32(aim) < params.width) {
    loss = log_sum - (get_x(base + u32(aim)) - greatest);
  }
  put_loss(place, loss);
  ${keeps ? "put_kept(place, greatest + log_sum);" : ""}
}`,
        }),
      },
      plan.extent(window.rows),
    );
  }
  return outputs;
};

/** `crossEntropyBackward`: one invocation for each logit. */
export const crossEntropyBackward: Kernel = (call) => {
  const [logits, targets, kept, gradient] = [0, 1, 2, 3].map((index) => call.input(index));
  const [rows = 0, width = 0] = call.spec(0).shape;
  const dx = call.make(0);
  if (!logits || !targets || !kept || !gradient || logits.size === 0) return [dx];
  const windows = rowWindows(call.context, rows, {
    x: { handle: logits.handle, access: "read", type: "f32", width },
    target: { handle: targets.handle, access: "read", type: "i32", width: 1 },
    kept: { handle: kept.handle, access: "read", type: "f32", width: 1 },
    g: { handle: gradient.handle, access: "read", type: "f32", width: 1 },
    dx: { handle: dx, access: "write", type: "f32", width },
  });
  for (const window of windows) {
    call.dispatch(
      {
        name: "crossEntropyBackward",
        operands: window.operands,
        params: { ...window.params, width: u32(width) },
        text: () => ({
          declarations: window.accessors + functions("exponential"),
          main: `if (index >= params.rows * params.width) { return; }
let local = index / params.width;
let row = params.first + local;
let column = index - local * params.width;
let place = row * params.width + column;
let aim = get_target(row);
var slope = 0.0;
if (aim >= 0 && u32(aim) < params.width) {
  slope = (exponential(get_x(place) - get_kept(row)) - select(0.0, 1.0, u32(aim) == column)) * get_g(row);
}
put_dx(place, slope);`,
        }),
      },
      { invocations: window.rows * width },
    );
  }
  return [dx];
};
