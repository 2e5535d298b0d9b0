import type { UnaryKind } from "@moiety/core";
import { type BlockBody, mapBooleans, mapNumbers } from "./elementwise.ts";
import { erf } from "./erf.ts";
import { roundHalfToEven } from "./half-floats.ts";
import type { Kernel } from "./kernel.ts";

/** A function of each element. */
export const unary: Kernel = (call) => {
  const { kind } = call.attributes<{ kind: UnaryKind }>();
  const x = call.input(0);
  if (kind === "not") return mapBooleans(call, [x], not);
  if (kind === "isNaN") return mapBooleans(call, [x], isNaN);
  return mapNumbers(call, [x], FUNCTIONS[kind]);
};

const not: BlockBody<Uint32Array> = (count, out, x) => {
  for (let i = 0; i < count; i++) out[i] = Number(x[i] === 0);
};

const isNaN: BlockBody<Uint32Array> = (count, out, x) => {
  for (let i = 0; i < count; i++) out[i] = Number(Number.isNaN(x[i]));
};

// A loop for each function: through a shared one, every element would cost a call.
const FUNCTIONS: Readonly<Record<Exclude<UnaryKind, "not" | "isNaN">, BlockBody<Float64Array>>> = {
  neg(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = -x[i]!;
  },
  abs(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = Math.abs(x[i]!);
  },
  sign(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = Math.sign(x[i]!);
  },
  exp(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = Math.exp(x[i]!);
  },
  log(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = Math.log(x[i]!);
  },
  log1p(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = Math.log1p(x[i]!);
  },
  sqrt(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = Math.sqrt(x[i]!);
  },
  rsqrt(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = 1 / Math.sqrt(x[i]!);
  },
  reciprocal(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = 1 / x[i]!;
  },
  tanh(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = Math.tanh(x[i]!);
  },
  erf(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = erf(x[i]!);
  },
  sigmoid(count, out, x) {
    // Where e^-x overflows, 1 / (1 + ∞) is 0: no case is needed.
    for (let i = 0; i < count; i++) out[i] = 1 / (1 + Math.exp(-x[i]!));
  },
  softplus(count, out, x) {
    for (let i = 0; i < count; i++) {
      const value = x[i]!;
      out[i] = Math.max(value, 0) + Math.log1p(Math.exp(-Math.abs(value)));
    }
  },
  sin(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = Math.sin(x[i]!);
  },
  cos(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = Math.cos(x[i]!);
  },
  floor(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = Math.floor(x[i]!);
  },
  ceil(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = Math.ceil(x[i]!);
  },
  round(count, out, x) {
    for (let i = 0; i < count; i++) out[i] = roundHalfToEven(x[i]!);
  },
};
