import type { DType } from "@moiety/core";

/** What a dtype's bits stand for. */
type Meaning = "float" | "signed" | "unsigned";

/**
 * WGSL `converted(bits)`: four elements' bits of one dtype as another's. All of it is integer
 * arithmetic. Floats go through f32, which holds every f16 and bf16, and integers that become bf16
 * are rounded only once.
 */
export function conversionText(from: DType, to: DType): string {
  const source = SOURCES[from];
  if (source === undefined) throw new TypeError(`no dtype of this device: ${from}`);
  const { meaning, text } = source;
  const parts = [text, targetText(meaning, to)];
  return `${parts.join("\n")}
fn converted(bits: vec4<u32>) -> vec4<u32> {
  return fromWide(toWide(bits));
}`;
}

/** Makes f32 bits of floats, and 32 bits of integers. */
const SOURCES: Readonly<Partial<Record<DType, { meaning: Meaning; text: string }>>> = {
  f32: { meaning: "float", text: /*#__PURE__*/ identity("toWide") },
  bf16: {
    meaning: "float",
    text: `fn toWide(bits: vec4<u32>) -> vec4<u32> { return bits << vec4<u32>(16u); }`,
  },
  f16: {
    meaning: "float",
    // A subnormal f16 is a whole number of steps of 2^-24, which f32 holds as a normal number.
    text: `fn toWide(bits: vec4<u32>) -> vec4<u32> {
  let size = bits & vec4<u32>(0x7fffu);
  let sign = (bits & vec4<u32>(0x8000u)) << vec4<u32>(16u);
  let steps = bitcast<vec4<u32>>(vec4<f32>(vec4<i32>(size)) * 0x1p-24f);
  let moved = (size << vec4<u32>(13u)) + vec4<u32>(112u << 23u);
  let normal = select(moved, moved + vec4<u32>(112u << 23u), size >= vec4<u32>(0x7c00u));
  return sign | select(normal, steps, size < vec4<u32>(0x0400u));
}`,
  },
  i32: { meaning: "signed", text: /*#__PURE__*/ identity("toWide") },
  u32: { meaning: "unsigned", text: /*#__PURE__*/ identity("toWide") },
  bool: { meaning: "unsigned", text: /*#__PURE__*/ identity("toWide") },
  u8: { meaning: "unsigned", text: /*#__PURE__*/ identity("toWide") },
};

function targetText(meaning: Meaning, to: DType): string {
  if (to === "bool") return truthText(meaning);
  if (meaning === "float") {
    switch (to) {
      case "f16":
        return toF16("fromWide");
      case "bf16":
        return toBF16("fromWide");
      case "i32":
      case "u32":
      case "u8":
        return toInteger(to);
      default:
        return identity("fromWide");
    }
  }
  switch (to) {
    case "f32":
      return roundInteger("fromWide", meaning, "f32");
    case "bf16":
      return roundInteger("fromWide", meaning, "bf16");
    case "f16":
      // Whole numbers within the range of f16 are exact in f32.
      return `${roundInteger("toSingle", meaning, "f32")}\n${toF16("halved")}
fn fromWide(bits: vec4<u32>) -> vec4<u32> { return halved(toSingle(bits)); }`;
    case "u8":
      return meaning === "signed"
        ? `fn fromWide(bits: vec4<u32>) -> vec4<u32> {
  return vec4<u32>(clamp(bitcast<vec4<i32>>(bits), vec4<i32>(0), vec4<i32>(255)));
}`
        : `fn fromWide(bits: vec4<u32>) -> vec4<u32> { return min(bits, vec4<u32>(255u)); }`;
    default:
      return identity("fromWide");
  }
}

function identity(name: string): string {
  return `fn ${name}(bits: vec4<u32>) -> vec4<u32> { return bits; }`;
}

/** Whether a number is not 0; both zeros of a float are. */
function truthText(meaning: Meaning): string {
  const size = meaning === "float" ? "bits & vec4<u32>(0x7fffffffu)" : "bits";
  return `fn fromWide(bits: vec4<u32>) -> vec4<u32> {
  return select(vec4<u32>(0u), vec4<u32>(1u), (${size}) != vec4<u32>(0u));
}`;
}

/** f32 to f16: to nearest, ties to even; every NaN becomes the quiet one without sign. */
function toF16(name: string): string {
  return `fn ${name}(bits: vec4<u32>) -> vec4<u32> {
  let size = bits & vec4<u32>(0x7fffffffu);
  let sign = (bits >> vec4<u32>(16u)) & vec4<u32>(0x8000u);
  let moved = size - vec4<u32>(112u << 23u);
  let tie = (moved >> vec4<u32>(13u)) & vec4<u32>(1u);
  let normal = (moved + vec4<u32>(0xfffu) + tie) >> vec4<u32>(13u);
  // Below 2^-14: whole steps of 2^-24.
  let mantissa = (size & vec4<u32>(0x7fffffu)) | vec4<u32>(0x800000u);
  let shift = min(vec4<u32>(126u) - (size >> vec4<u32>(23u)), vec4<u32>(31u));
  let steps = mantissa >> shift;
  let rest = mantissa - (steps << shift);
  let half = vec4<u32>(1u) << (shift - vec4<u32>(1u));
  let up = (rest > half) | ((rest == half) & ((steps & vec4<u32>(1u)) == vec4<u32>(1u)));
  let small = steps + select(vec4<u32>(0u), vec4<u32>(1u), up);
  var result = select(normal, small, size < vec4<u32>(0x38800000u));
  result = sign | select(result, vec4<u32>(0x7c00u), size >= vec4<u32>(0x477ff000u));
  return select(result, vec4<u32>(0x7e00u), size > vec4<u32>(0x7f800000u));
}`;
}

/** f32 to bf16: to nearest, ties to even; every NaN becomes the quiet one without sign. */
function toBF16(name: string): string {
  return `fn ${name}(bits: vec4<u32>) -> vec4<u32> {
  let tie = (bits >> vec4<u32>(16u)) & vec4<u32>(1u);
  let rounded = (bits + vec4<u32>(0x7fffu) + tie) >> vec4<u32>(16u);
  let size = bits & vec4<u32>(0x7fffffffu);
  return select(rounded, vec4<u32>(0x7fc0u), size > vec4<u32>(0x7f800000u));
}`;
}

/** f32 to an integer: toward zero, saturating; NaN gives 0. */
function toInteger(to: "i32" | "u32" | "u8"): string {
  const bits = to === "i32" ? 31 : to === "u32" ? 32 : 8;
  const top = to === "i32" ? "0x7fffffffu" : to === "u32" ? "0xffffffffu" : "255u";
  const below = to === "i32" ? "vec4<u32>(0u) - size" : "vec4<u32>(0u)";
  const lowest = to === "i32" ? "0x80000000u" : "0u";
  return `fn fromWide(bits: vec4<u32>) -> vec4<u32> {
  let exponent = (bits >> vec4<u32>(23u)) & vec4<u32>(0xffu);
  let mantissa = (bits & vec4<u32>(0x7fffffu)) | vec4<u32>(0x800000u);
  let right = min(vec4<u32>(150u) - min(exponent, vec4<u32>(150u)), vec4<u32>(31u));
  let left = min(max(exponent, vec4<u32>(150u)) - vec4<u32>(150u), vec4<u32>(31u));
  let size = (mantissa >> right) << left;
  let negative = bits > vec4<u32>(0x7fffffffu);
  let beyond = exponent >= vec4<u32>(${127 + bits}u);
  let ends = select(vec4<u32>(${top}), vec4<u32>(${lowest}), negative);
  let result = select(select(size, ${below}, negative), ends, beyond);
  let isNaN = (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
  return select(result, vec4<u32>(0u), isNaN);
}`;
}

/** A 32-bit integer to f32 or bf16: to nearest, ties to even. */
function roundInteger(name: string, meaning: Meaning, to: "f32" | "bf16"): string {
  const [digits, fraction] = to === "f32" ? [24, 23] : [8, 7];
  const dropped = 32 - digits;
  const signBit = to === "f32" ? "0x80000000u" : "0x8000u";
  const negative = meaning === "signed" ? "bits > vec4<u32>(0x7fffffffu)" : "vec4<bool>(false)";
  return `fn ${name}(bits: vec4<u32>) -> vec4<u32> {
  let negative = ${negative};
  let size = select(bits, vec4<u32>(0u) - bits, negative);
  let zeros = countLeadingZeros(size);
  let aligned = size << min(zeros, vec4<u32>(31u));
  let kept = aligned >> vec4<u32>(${dropped}u);
  let rest = aligned & vec4<u32>(${2 ** dropped - 1}u);
  let up = (rest > vec4<u32>(${2 ** (dropped - 1)}u)) |
    ((rest == vec4<u32>(${2 ** (dropped - 1)}u)) & ((kept & vec4<u32>(1u)) == vec4<u32>(1u)));
  let steps = kept + select(vec4<u32>(0u), vec4<u32>(1u), up);
  let exponent = (vec4<u32>(157u) - min(zeros, vec4<u32>(31u))) << vec4<u32>(${fraction}u);
  let sign = select(vec4<u32>(0u), vec4<u32>(${signBit}), negative);
  return select(sign | (exponent + steps), vec4<u32>(0u), size == vec4<u32>(0u));
}`;
}
