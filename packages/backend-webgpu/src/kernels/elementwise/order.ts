/**
 * Order of floats by their bits: WGSL may assume that there is no NaN, and hardware may take
 * subnormal numbers for zero, so comparisons of floats say less than comparisons of integers.
 */

/** WGSL: bits of a float without its sign, and of infinity: what is above it is NaN. */
const MASKS = `
const MAGNITUDE: u32 = 0x7fffffffu;
const INFINITY: u32 = 0x7f800000u;
`;

/** WGSL `isNaNBits`: whether bits of floats are NaN. For `vec4`, or single numbers. */
export function nanText(width: 1 | 4 = 4): string {
  const [word, truth] = width === 4 ? ["vec4<u32>", "vec4<bool>"] : ["u32", "bool"];
  return `${MASKS}
fn isNaNBits(bits: ${word}) -> ${truth} {
  return (bits & ${word}(MAGNITUDE)) > ${word}(INFINITY);
}`;
}

/**
 * WGSL `orderOf`: turns bits of floats into u32 that compare as the floats do, −0 below +0, NaN 0 and
 * below all. `orderEqualZeros` gives both zeros one place. `bitsOfOrder` undoes it, NaN for 0.
 */
export function orderText(width: 1 | 4 = 4): string {
  const word = width === 4 ? "vec4<u32>" : "u32";
  return `${nanText(width)}
fn orderOf(bits: ${word}) -> ${word} {
  let flipped = select(bits | ${word}(0x80000000u), ~bits, bits > ${word}(MAGNITUDE));
  return select(flipped, ${word}(0u), isNaNBits(bits));
}
fn orderEqualZeros(bits: ${word}) -> ${word} {
  return orderOf(select(bits, ${word}(0u), (bits & ${word}(MAGNITUDE)) == ${word}(0u)));
}
fn bitsOfOrder(order: ${word}) -> ${word} {
  let bits = select(~order, order & ${word}(MAGNITUDE), order > ${word}(MAGNITUDE));
  return select(bits, ${word}(0x7fc00000u), order == ${word}(0u));
}`;
}
