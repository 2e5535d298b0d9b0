import type { DType, UnaryKind } from "@moiety/core";
import type { Kernel } from "../../kernel.ts";
import { type WordType, inOrder, mapElements, wordType } from "./map.ts";
import { type MathFunction, mathText } from "./math.ts";
import { nanText } from "./order.ts";

/** A function of each element in WGSL. */
interface UnaryText {
  /** As what elements are read and written. */
  readonly type: WordType;
  readonly value: string;
  readonly declarations?: (() => string) | undefined;
}

const bits = (value: string): UnaryText => ({ type: "u32", value, declarations: () => nanText() });
const float = (value: string): UnaryText => ({ type: "f32", value });
const math = (name: MathFunction): UnaryText => ({
  type: "f32",
  value: `${name}(x)`,
  declarations: () => mathText([name]),
});

/** On f32: signs and NaN by their bits, the rest as floats. */
const FLOATS: Readonly<Record<Exclude<UnaryKind, "not">, () => UnaryText>> = {
  neg: () => bits("x ^ vec4<u32>(0x80000000u)"),
  abs: () => bits("x & vec4<u32>(0x7fffffffu)"),
  sign: () =>
    bits(
      "select((x & vec4<u32>(0x80000000u)) | vec4<u32>(0x3f800000u), x, " +
        "((x & vec4<u32>(MAGNITUDE)) == vec4<u32>(0u)) | isNaNBits(x))",
    ),
  isNaN: () => bits("select(vec4<u32>(0u), vec4<u32>(1u), isNaNBits(x))"),
  sqrt: () => float("sqrt(x)"),
  rsqrt: () => float("inverseSqrt(x)"),
  reciprocal: () => float("vec4<f32>(1.0) / x"),
  floor: () => float("floor(x)"),
  ceil: () => float("ceil(x)"),
  round: () => float("round(x)"),
  exp: () => math("exponential"),
  log: () => math("logarithm"),
  log1p: () => math("logarithm1p"),
  tanh: () => math("hyperbolicTangent"),
  erf: () => math("errorFunction"),
  sigmoid: () => math("logistic"),
  softplus: () => math("softplus"),
  sin: () => math("sine"),
  cos: () => math("cosine"),
};

/** On i32, of which −2³¹ has no opposite and stays. */
const SIGNED: Readonly<Partial<Record<UnaryKind, string>>> = {
  neg: "-x",
  abs: "abs(x)",
  sign: "sign(x)",
};

/** On u32. */
const UNSIGNED: Readonly<Partial<Record<UnaryKind, string>>> = {
  neg: "vec4<u32>(0u) - x",
  abs: "x",
  sign: "min(x, vec4<u32>(1u))",
};

/** `unary`. */
export const unary: Kernel = (call) => {
  const { kind } = call.attributes<{ kind: UnaryKind }>();
  const x = call.input(0);
  const { type, value, declarations } = textOf(kind, x.dtype);
  const y = call.make(0);
  mapElements(call, y, {
    name: `unary ${kind} ${x.dtype}`,
    shape: x.shape,
    type,
    sources: { x: inOrder(x.handle, type, x.shape) },
    declarations,
    value,
  });
  return [y];
};

function textOf(kind: UnaryKind, dtype: DType): UnaryText {
  if (kind === "not") {
    return { type: "u32", value: "select(vec4<u32>(0u), vec4<u32>(1u), x == vec4<u32>(0u))" };
  }
  if (dtype === "f32") return FLOATS[kind]();
  const value = (dtype === "i32" ? SIGNED : UNSIGNED)[kind] ?? "x";
  return { type: wordType(dtype), value };
}
