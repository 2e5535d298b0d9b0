import { sizeOf } from "@moiety/core";
import type { Kernel } from "../../kernel.ts";
import { read, u32 } from "../../program.ts";
import { broadcastIndex } from "./broadcast.ts";
import { LOWEST, functions } from "./functions.ts";
import { laneSum, planRows } from "./rows.ts";
import { rowWindows } from "./windows.ts";

/** `softmax`: the powers are written down first and divided by their sum then. */
export const softmax: Kernel = (call) => {
  const x = call.input(0);
  const mask = call.optional(1);
  const width = x.shape.at(-1) ?? 0;
  const y = call.make(0);
  if (x.size === 0) return [y];
  const lead = x.shape.slice(0, -1);
  const plan = planRows(call.context, width);
  const maskWidth = mask?.shape.at(-1) ?? 1;
  const place = mask && broadcastIndex("mask", lead, mask.shape.slice(0, -1), maskWidth);
  const windows = rowWindows(
    call.context,
    sizeOf(lead),
    {
      x: { handle: x.handle, access: "read", type: "f32", width },
      y: { handle: y, access: "write", type: "f32", width },
    },
    mask?.handle.blocks.length,
  );
  for (const window of windows) {
    call.dispatch(
      {
        name: "softmax",
        variant: `${plan.lanes},${place?.rank ?? "-"}`,
        workgroupSize: plan.workgroupSize,
        operands: { ...window.operands, ...(mask && { mask: read(mask.handle, "u32") }) },
        params: {
          ...window.params,
          ...place?.params,
          width: u32(width),
          step: u32(maskWidth === 1 ? 0 : 1),
        },
        text: () => ({
          declarations:
            window.accessors + plan.declarations + functions("exponential") + (place?.text ?? ""),
          main: softmaxText(plan.begin, mask !== undefined),
        }),
      },
      plan.extent(window.rows),
    );
  }
  return [y];
};

function softmaxText(begin: string, masked: boolean): string {
  const hidden = masked ? "load_mask(seen + i * params.step) == 0u" : "false";
  return `${begin}
let base = (params.first + row) * params.width;
${masked ? "let seen = mask_at(params.first + row);" : ""}
var top = ${LOWEST};
for (var i = lane; i < params.width; i += LANES) {
  if (${hidden}) { continue; }
  let value = get_x(base + i);
  if (!is_nan(value)) { top = max(top, value); }
}
let greatest = row_max(lane, top);
${laneSum("part_sum", "params.width", "raised", {
  before: "let raised = exponential(get_x(base + i) - greatest); put_y(base + i, raised);",
  skip: hidden,
})}
let sum = row_sum(lane, part_sum);
for (var i = lane; i < params.width; i += LANES) {
  if (${hidden}) { put_y(base + i, 0.0); }
  else { put_y(base + i, get_y(base + i) / sum); }
}`;
}

/** `logSumExp`. */
export const logSumExp: Kernel = (call) => {
  const x = call.input(0);
  const width = x.shape.at(-1) ?? 0;
  const y = call.make(0);
  const plan = planRows(call.context, width);
  const windows = rowWindows(call.context, call.outputSize(0), {
    x: { handle: x.handle, access: "read", type: "f32", width },
    y: { handle: y, access: "write", type: "f32", width: 1 },
  });
  for (const window of windows) {
    call.dispatch(
      {
        name: "logSumExp",
        variant: `${plan.lanes}`,
        workgroupSize: plan.workgroupSize,
        operands: window.operands,
        params: { ...window.params, width: u32(width) },
        text: () => ({
          declarations:
            window.accessors + plan.declarations + functions("exponential", "logarithm"),
          main: `${plan.begin}
let base = (params.first + row) * params.width;
${sumOfPowers("get_x(base + i)", "params.width")}
if (lane == 0u) { put_y(params.first + row, greatest + logarithm(sum)); }`,
        }),
      },
      plan.extent(window.rows),
    );
  }
  return [y];
};

/** WGSL: `greatest`, the largest of a row that is no NaN, and `sum` of e^(x − greatest). */
export function sumOfPowers(value: string, width: string): string {
  return `
var top = ${LOWEST};
for (var i = lane; i < ${width}; i += LANES) {
  let value = ${value};
  if (!is_nan(value)) { top = max(top, value); }
}
let greatest = row_max(lane, top);
${laneSum("part_sum", width, `exponential(${value} - greatest)`)}
let sum = row_sum(lane, part_sum);`;
}
