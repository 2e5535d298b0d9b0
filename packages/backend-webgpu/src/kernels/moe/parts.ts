import type { GpuHandle } from "../../memory.ts";
import { type Param, u32 } from "../../program.ts";
import { type Factor, alignedLines, factorOf } from "../products/factor.ts";
import type { FfnProblem } from "./problem.ts";

/** Rows of width `stride` in their own order, as the left factor of a product. */
export function rowFactor(name: string, handle: GpuHandle, width: number): Factor {
  return factorOf({
    name,
    dtype: "f32",
    order: "rows",
    aligned: alignedLines(handle, width),
    whole: width % 4 === 0,
    stride: "params.inner",
    shift: "0u",
    last: "params.rows - 1u",
  });
}

/** WGSL: adds the bias of `owner` to a quad of columns; quads of rows in no group stay zero. */
export function biasText(has: boolean): string {
  if (!has) return "fn biased(v: vec4<f32>, owner: u32, column: u32) -> vec4<f32> { return v; }";
  return `fn biased(v: vec4<f32>, owner: u32, column: u32) -> vec4<f32> {
  if (owner >= params.groups) { return v; }
  let at = owner * params.columns;
  let last = params.columns - 1u;
  return v + vec4<f32>(load_bias(at + min(column, last)), load_bias(at + min(column + 1u, last)),
    load_bias(at + min(column + 2u, last)), load_bias(at + min(column + 3u, last)));
}`;
}

/** The numbers that {@link rowText} and the products need. */
export function rowParams({ rows, tokens, choices, innerSize }: FfnProblem): Record<string, Param> {
  return {
    rows: u32(rows),
    tokens: u32(tokens),
    choices: u32(choices),
    innerSize: u32(innerSize),
  };
}
