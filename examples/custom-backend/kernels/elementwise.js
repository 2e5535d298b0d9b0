/**
 * One result for each element. Functions compute in float64 and round once, when the typed array
 * stores; integers wrap there too.
 */
import { hostArray, sameShape } from "@moiety/core";
import { broadcastStrides, positionsOf, take } from "../positions.js";

/** @typedef {import("../kernels.js").Kernel} Kernel */
/** @typedef {import("../kernels.js").Operand} Operand */

/** @type {Kernel} */
export const fill = ({ outputs: [y], attributes: { value } }) => {
  y.data.fill(value);
};

/** @type {Kernel} */
export const iota = ({ outputs: [y], attributes: { axis } }) => {
  const strides = y.shape.map((_, other) => (other === axis ? 1 : 0));
  y.data.set(positionsOf(y.shape, strides));
};

/** @type {Record<string, (x: number) => number>} */
const UNARY = {
  neg: (x) => -x,
  abs: Math.abs,
  sign: Math.sign,
  exp: Math.exp,
  log: Math.log,
  log1p: Math.log1p,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  reciprocal: (x) => 1 / x,
  tanh: Math.tanh,
  erf,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  sin: Math.sin,
  cos: Math.cos,
  floor: Math.floor,
  ceil: Math.ceil,
  round: roundHalfToEven,
  isNaN: (x) => Number(Number.isNaN(x)),
  not: (x) => 1 - x,
};

/** @type {Kernel} */
export const unary = ({ inputs: [x], outputs: [y], attributes: { kind } }) => {
  const f = UNARY[kind];
  for (let i = 0; i < y.data.length; i++) y.data[i] = f(x.data[i]);
};

/** @type {Record<string, (a: number, b: number) => number>} */
const BINARY = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  // A NaN loses to every number.
  max: (a, b) => (b > a || Number.isNaN(a) ? b : a),
  min: (a, b) => (b < a || Number.isNaN(a) ? b : a),
  pow: (a, b) => a ** b,
  // x % 0 is NaN, which an integer array stores as 0.
  rem: (a, b) => a % b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
};

/**
 * Where float64 would lose bits of an integer, or break it. x / 0 is ∞ or NaN, which is stored as 0.
 *
 * @type {Record<string, (a: number, b: number) => number>}
 */
const WHOLE = { mul: Math.imul, div: (a, b) => Math.trunc(a / b) };

/** @type {Kernel} */
export const binary = ({ inputs: [a, b], outputs: [y], attributes: { kind, scalar } }) => {
  const f = (a.dtype === "f32" ? undefined : WHOLE[kind]) ?? BINARY[kind];
  zip(y, a, b ?? scalarOperand(scalar, a.dtype), f);
};

/** @type {Record<string, (a: number, b: number) => number>} */
const RELATIONS = {
  eq: (a, b) => Number(a === b),
  ne: (a, b) => Number(a !== b),
  lt: (a, b) => Number(a < b),
  le: (a, b) => Number(a <= b),
  gt: (a, b) => Number(a > b),
  ge: (a, b) => Number(a >= b),
};

/** @type {Kernel} */
export const compare = ({ inputs: [a, b], outputs: [y], attributes: { kind, scalar } }) => {
  zip(y, a, b ?? scalarOperand(scalar, a.dtype), RELATIONS[kind]);
};

/** @type {Kernel} */
export const where = ({ inputs: [condition, a, b], outputs: [y], attributes }) => {
  const chosen = expanded(condition, y.shape);
  const left = expanded(a ?? scalarOperand(attributes.a, y.dtype), y.shape);
  const right = expanded(b ?? scalarOperand(attributes.b, y.dtype), y.shape);
  for (let i = 0; i < y.data.length; i++) y.data[i] = chosen[i] ? left[i] : right[i];
};

/** @type {Kernel} */
export const broadcast = ({ inputs: [x], outputs: [y] }) => {
  y.data.set(expanded(x, y.shape));
};

/** @type {Kernel} */
export const cast = ({ inputs: [x], outputs: [y] }) => {
  const f = conversion(x.dtype, y.dtype);
  for (let i = 0; i < y.data.length; i++) y.data[i] = f(x.data[i]);
};

/**
 * @param {string} from
 * @param {string} to
 * @returns {(x: number) => number}
 */
function conversion(from, to) {
  // NaN is not 0, so it is true.
  if (to === "bool") return (x) => Number(x !== 0);
  if (to === "u8") return (x) => saturated(x, 0, 2 ** 8 - 1);
  if (from === "f32" && to === "i32") return (x) => saturated(x, -(2 ** 31), 2 ** 31 - 1);
  if (from === "f32" && to === "u32") return (x) => saturated(x, 0, 2 ** 32 - 1);
  // Between i32 and u32 the bits stay, which is how typed arrays store.
  return (x) => x;
}

/**
 * @param {number} x
 * @param {number} low
 * @param {number} high
 */
function saturated(x, low, high) {
  return Number.isNaN(x) ? 0 : Math.min(Math.max(Math.trunc(x), low), high);
}

/**
 * @param {Operand} y
 * @param {Operand} a
 * @param {Operand} b
 * @param {(a: number, b: number) => number} f
 */
function zip(y, a, b, f) {
  const left = expanded(a, y.shape);
  const right = expanded(b, y.shape);
  for (let i = 0; i < y.data.length; i++) y.data[i] = f(left[i], right[i]);
}

/**
 * The elements of a tensor repeated to a shape; the tensor's own where nothing repeats.
 *
 * @param {Operand} operand
 * @param {readonly number[]} shape
 */
function expanded({ data, shape: from, dtype }, shape) {
  if (sameShape(from, shape)) return data;
  const positions = positionsOf(shape, broadcastStrides(from, shape));
  const result = hostArray(dtype, positions.length);
  take(result, data, positions);
  return result;
}

/**
 * A scalar attribute as a tensor: the typed array rounds it to the dtype.
 *
 * @param {number} value
 * @param {import("@moiety/core").DType} dtype
 * @returns {Operand}
 */
function scalarOperand(value, dtype) {
  const data = hostArray(dtype, 1);
  data[0] = value;
  return { data, shape: [], dtype };
}

/** @param {number} x */
function roundHalfToEven(x) {
  const down = Math.floor(x);
  if (x - down !== 0.5) return Math.round(x);
  return down % 2 === 0 ? down : down + 1;
}

/**
 * The error function by its series whose terms are all positive (Abramowitz and Stegun 7.1.6):
 * 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1 · 3 · … · (2n+1)). From 4 on float32 knows only 1.
 *
 * @param {number} x
 */
function erf(x) {
  if (Math.abs(x) > 4) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-10 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
