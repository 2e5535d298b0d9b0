import type { BinaryAttributes, BinaryKind, DType } from "@moiety/core";
import { type BlockBody, type Source, isWhole, mapBooleans, mapNumbers } from "./elementwise.ts";
import type { Kernel, Operand } from "./kernel.ts";

/** A function of each pair of elements; shapes broadcast. */
export const binary: Kernel = (call) => {
  const { kind, scalar } = call.attributes<BinaryAttributes>();
  const a = call.input(0);
  const sources = [a, rightOf(call.optional(1), scalar, a.dtype)];
  if (kind === "and") return mapBooleans(call, sources, and);
  if (kind === "or") return mapBooleans(call, sources, or);
  const whole = isWhole(a.dtype) ? INTEGER_FUNCTIONS[kind] : undefined;
  return mapNumbers(call, sources, whole ?? FUNCTIONS[kind]);
};

/** The right operand: the tensor, or the scalar as the dtype holds it. */
export function rightOf(
  operand: Operand | undefined,
  scalar: number | undefined,
  dtype: DType,
): Source {
  return operand ?? (dtype === "f32" ? Math.fround(scalar ?? 0) : (scalar ?? 0));
}

const and: BlockBody<Uint32Array> = (count, out, a, b) => {
  for (let i = 0; i < count; i++) out[i] = Number(a[i] !== 0 && b[i] !== 0);
};

const or: BlockBody<Uint32Array> = (count, out, a, b) => {
  for (let i = 0; i < count; i++) out[i] = Number(a[i] !== 0 || b[i] !== 0);
};

const FUNCTIONS: Readonly<Record<Exclude<BinaryKind, "and" | "or">, BlockBody<Float64Array>>> = {
  add(count, out, a, b) {
    for (let i = 0; i < count; i++) out[i] = a[i]! + b[i]!;
  },
  sub(count, out, a, b) {
    for (let i = 0; i < count; i++) out[i] = a[i]! - b[i]!;
  },
  mul(count, out, a, b) {
    for (let i = 0; i < count; i++) out[i] = a[i]! * b[i]!;
  },
  div(count, out, a, b) {
    for (let i = 0; i < count; i++) out[i] = a[i]! / b[i]!;
  },
  pow(count, out, a, b) {
    for (let i = 0; i < count; i++) out[i] = a[i]! ** b[i]!;
  },
  rem(count, out, a, b) {
    // x % 0 is NaN, which is stored as 0.
    for (let i = 0; i < count; i++) out[i] = a[i]! % b[i]!;
  },
  max(count, out, a, b) {
    for (let i = 0; i < count; i++) {
      const left = a[i]!;
      const right = b[i]!;
      out[i] = right > left || Number.isNaN(left) ? right : left;
    }
  },
  min(count, out, a, b) {
    for (let i = 0; i < count; i++) {
      const left = a[i]!;
      const right = b[i]!;
      out[i] = right < left || Number.isNaN(left) ? right : left;
    }
  },
};

/** Where float64 arithmetic, stored modulo 2^32, is not that of 32-bit integers. */
const INTEGER_FUNCTIONS: Readonly<Partial<Record<BinaryKind, BlockBody<Float64Array>>>> = {
  mul(count, out, a, b) {
    for (let i = 0; i < count; i++) out[i] = Math.imul(a[i]!, b[i]!);
  },
  div(count, out, a, b) {
    // The quotient of 32-bit integers cannot round up to the next whole number; x/0 is stored as 0.
    for (let i = 0; i < count; i++) out[i] = Math.trunc(a[i]! / b[i]!);
  },
};
