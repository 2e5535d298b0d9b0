import type { DType } from "../dtype.ts";
import { FLOATS, INTEGERS, NUMBERS } from "./checks.ts";

/** The functions of {@link unary}. */
export type UnaryKind =
  | "neg"
  | "abs"
  | "sign"
  | "exp"
  | "log"
  | "log1p"
  | "sqrt"
  | "rsqrt"
  | "reciprocal"
  | "tanh"
  | "erf"
  | "sigmoid"
  | "softplus"
  | "sin"
  | "cos"
  | "floor"
  | "ceil"
  | "round"
  | "isNaN"
  | "not";

/** The functions of {@link binary}. */
export type BinaryKind =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "max"
  | "min"
  | "pow"
  | "rem"
  | "and"
  | "or";

/** What the functions of `unary` take. */
export const UNARY: Readonly<Record<UnaryKind, readonly DType[]>> = {
  neg: NUMBERS,
  abs: NUMBERS,
  sign: NUMBERS,
  exp: FLOATS,
  log: FLOATS,
  log1p: FLOATS,
  sqrt: FLOATS,
  rsqrt: FLOATS,
  reciprocal: FLOATS,
  tanh: FLOATS,
  erf: FLOATS,
  sigmoid: FLOATS,
  softplus: FLOATS,
  sin: FLOATS,
  cos: FLOATS,
  floor: FLOATS,
  ceil: FLOATS,
  round: FLOATS,
  isNaN: FLOATS,
  not: ["bool"],
};

/** What the functions of `binary` take. */
export const BINARY: Readonly<Record<BinaryKind, readonly DType[]>> = {
  add: NUMBERS,
  sub: NUMBERS,
  mul: NUMBERS,
  div: NUMBERS,
  max: NUMBERS,
  min: NUMBERS,
  pow: FLOATS,
  rem: INTEGERS,
  and: ["bool"],
  or: ["bool"],
};
