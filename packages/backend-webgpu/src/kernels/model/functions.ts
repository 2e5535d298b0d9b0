import { type MathFunction, mathText } from "../elementwise/math.ts";

/** The lowest finite float, where a maximum begins: WGSL has no infinities. */
export const LOWEST = "-3.4028234663852886e38";

/** WGSL: `is_nan(x)`, by bits, and the scalar functions named, as the elementwise kernels have them. */
export function functions(...names: readonly MathFunction[]): string {
  return `
fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
${mathText(names, 1)}
`;
}
