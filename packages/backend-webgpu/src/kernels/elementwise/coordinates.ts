import { type Param, u32 } from "../../program.ts";

/**
 * WGSL lines that divide `rest`, a number in row-major order, into coordinates, last axis first, and
 * run `use` with each. One division an axis: the remainder is what the quotient leaves.
 */
export function coordinateLines(
  rank: number,
  use: (coordinate: string, axis: number) => readonly string[],
): string[] {
  const lines: string[] = [];
  for (let axis = rank - 1; axis >= 0; axis--) {
    if (axis === 0) {
      lines.push(...use("rest", axis));
      break;
    }
    lines.push(
      `let quotient${axis} = rest / params.size${axis};`,
      `let c${axis} = rest - quotient${axis} * params.size${axis};`,
      ...use(`c${axis}`, axis),
      `rest = quotient${axis};`,
    );
  }
  return lines;
}

/** A parameter for each axis: `name0`, `name1`, … */
export function axisParams(name: string, values: readonly number[]): Record<string, Param> {
  return Object.fromEntries(values.map((value, axis) => [`${name}${axis}`, u32(value)]));
}
