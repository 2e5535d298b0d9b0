import type { DType } from "@moiety/core";

/**
 * WGSL: `order_of(bits: u32) -> u32`, a number of a dtype as an unsigned key in the same order. Floats
 * come as bits, so that nothing is asked of a NaN: it is 0, below −∞, and −0 is 0.
 */
export function orderText(dtype: DType): string {
  if (dtype === "u32") return "fn order_of(bits: u32) -> u32 { return bits; }\n";
  if (dtype === "i32") return "fn order_of(bits: u32) -> u32 { return bits ^ 0x80000000u; }\n";
  return `
fn order_of(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0u; }
  if ((bits & 0x80000000u) == 0u) { return bits | 0x80000000u; }
  return select(~bits, 0x80000000u, bits == 0x80000000u);
}
`;
}

/** WGSL: whether (key, tag) comes before another pair. */
export const BEFORE = `
fn before(key: u32, tag: u32, other_key: u32, other_tag: u32) -> bool {
  return key < other_key || (key == other_key && tag < other_tag);
}
`;
