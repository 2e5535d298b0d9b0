import type { Shape } from "@moiety/core";
import { type Param, u32 } from "../../program.ts";

/** Where an operand that broadcasts to a shape stands at each of the shape's places. */
export interface BroadcastIndex {
  /** Number of axes that are left after those that go together are joined; names the text. */
  readonly rank: number;
  readonly params: Readonly<Record<string, Param>>;
  /** WGSL: `fn NAME_at(place: u32) -> u32`. */
  readonly text: string;
}

/**
 * Index of an operand's element (in units of `unit` elements of its last axes) at a place of `shape`,
 * to which `from` broadcasts.
 */
export function broadcastIndex(name: string, shape: Shape, from: Shape, unit = 1): BroadcastIndex {
  const axes = joinedAxes(shape, from, unit);
  const params: Record<string, Param> = {};
  const lines: string[] = [];
  for (const [index, { size, stride }] of axes.entries()) {
    params[`${name}_size${index}`] = u32(Math.max(size, 1));
    params[`${name}_stride${index}`] = u32(stride);
    lines.push(
      `at += (rest % params.${name}_size${index}) * params.${name}_stride${index};`,
      `rest /= params.${name}_size${index};`,
    );
  }
  const body = lines.join("\n  ");
  return {
    rank: axes.length,
    params,
    text: `fn ${name}_at(place: u32) -> u32 {\n  var rest = place;\n  var at = 0u;\n  ${body}\n  return at;\n}\n`,
  };
}

interface Axis {
  size: number;
  stride: number;
}

/** From the innermost axis outwards. */
function joinedAxes(shape: Shape, from: Shape, unit: number): readonly Axis[] {
  const axes: Axis[] = [];
  let stride = unit;
  for (let back = 1; back <= shape.length; back++) {
    const size = shape.at(-back) ?? 1;
    const own = from.length >= back ? (from.at(-back) ?? 1) : 1;
    const step = own === 1 ? 0 : stride;
    stride *= own;
    if (size === 1) continue;
    const last = axes.at(-1);
    if (last && step === last.stride * last.size) last.size *= size;
    else axes.push({ size, stride: step });
  }
  return axes;
}
