import type { BinaryAttributes, BinaryKind, DType, Shape } from "@moiety/core";
import type { Input, Kernel } from "../../kernel.ts";
import { f32, i32, u32 } from "../../program.ts";
import { broadcastStrides } from "./grid.ts";
import { type Source, type WordType, mapElements, wordType } from "./map.ts";
import { mathText } from "./math.ts";
import { orderText } from "./order.ts";

/** A function of pairs of elements in WGSL. */
interface BinaryText {
  readonly type: WordType;
  readonly value: string;
  readonly declarations?: (() => string) | undefined;
}

/** By bits: the first of the two where they are equal, NaN only where both are. */
const extreme = (first: string): BinaryText => ({
  type: "u32",
  value: `select(b, a, ${first})`,
  declarations: () => `${orderText()}
// The order turned round, in which NaN is lowest too.
fn reversed(bits: vec4<u32>) -> vec4<u32> {
  return select(~orderOf(bits), vec4<u32>(0u), isNaNBits(bits));
}`,
});

/** On f32. */
const FLOATS: Readonly<Partial<Record<BinaryKind, BinaryText>>> = {
  add: { type: "f32", value: "a + b" },
  sub: { type: "f32", value: "a - b" },
  mul: { type: "f32", value: "a * b" },
  div: { type: "f32", value: "a / b" },
  pow: { type: "f32", value: "power(a, b)", declarations: () => mathText(["power"]) },
  max: /*#__PURE__*/ extreme("orderOf(a) >= orderOf(b)"),
  min: /*#__PURE__*/ extreme("reversed(a) >= reversed(b)"),
};

/** On i32 and u32, whose vectors are `V`. */
const INTEGERS: Readonly<Partial<Record<BinaryKind, string>>> = {
  add: "a + b",
  sub: "a - b",
  mul: "a * b",
  max: "max(a, b)",
  min: "min(a, b)",
  div: "select(a / select(b, V(1), b == V(0)), V(0), b == V(0))",
  rem: "select(a % select(b, V(1), b == V(0)), V(0), b == V(0))",
};

/** On bool. */
const TRUTHS: Readonly<Partial<Record<BinaryKind, string>>> = {
  and: "select(vec4<u32>(0u), vec4<u32>(1u), (a != vec4<u32>(0u)) & (b != vec4<u32>(0u)))",
  or: "select(vec4<u32>(0u), vec4<u32>(1u), (a | b) != vec4<u32>(0u))",
};

/** `binary`. */
export const binary: Kernel = (call) => {
  const { kind, scalar } = call.attributes<BinaryAttributes>();
  const a = call.input(0);
  const { shape } = call.spec(0);
  const { type, value, declarations } = textOf(kind, a.dtype);
  const y = call.make(0);
  mapElements(call, y, {
    name: `binary ${kind} ${a.dtype}`,
    shape,
    type,
    sources: {
      a: along(a, shape, type),
      b: rightOf(call.optional(1), scalar, a.dtype, shape, type),
    },
    declarations,
    value,
  });
  return [y];
};

function textOf(kind: BinaryKind, dtype: DType): BinaryText {
  const float = dtype === "f32" ? FLOATS[kind] : undefined;
  if (float) return float;
  const type = wordType(dtype);
  const value = (dtype === "bool" ? TRUTHS : INTEGERS)[kind] ?? "a";
  return { type, value, declarations: () => `alias V = vec4<${type}>;` };
}

/** An input as it broadcasts to a shape. */
export function along(input: Input, shape: Shape, type: WordType): Source {
  return { handle: input.handle, type, strides: broadcastStrides(input.shape, shape) };
}

/** The right operand: the tensor, or the scalar as the dtype holds it, taken as `type`. */
export function rightOf(
  operand: Input | undefined,
  scalar: number | undefined,
  dtype: DType,
  shape: Shape,
  type: WordType,
): Source {
  return operand ? along(operand, shape, type) : numberOf(scalar ?? 0, dtype, type);
}

/** A number as a 32-bit dtype holds it, taken as `type`. */
export function numberOf(value: number, dtype: DType, type: WordType): Source {
  if (dtype !== "f32") return type === "i32" ? i32(value) : u32(value);
  if (type === "f32") return f32(value);
  return u32(new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0);
}
