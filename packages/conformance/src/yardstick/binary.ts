import { type BinaryAttributes, type BinaryKind, type DType, isFloat } from "@moiety/core";
import { type Bounded, scalarValue } from "./cast.ts";
import { type Kernel, type KernelCall, Operand, type Result, wrapped } from "./kernel.ts";
import { broadcastPlaces } from "./places.ts";
import { type Precision, ROUNDING } from "./precision.ts";

/** A function of two bounded numbers. */
type Combine = (a: number, ea: number, b: number, eb: number) => Bounded;

/** A function of each pair of elements; shapes broadcast. */
export const binary: Kernel = (call) => {
  const { kind, scalar } = call.attributes<BinaryAttributes>();
  const a = call.input(0);
  const b = rightOperand(call, a, scalar);
  const y = call.result();
  combinePairs(call, a, b, y, combinationOf(kind, a.dtype, call.precision));
  return [y];
};

/** The right operand: the tensor, or the scalar as a tensor of one element. */
export function rightOperand(call: KernelCall, a: Operand, scalar = 0): Operand {
  return call.inputs[1] ?? scalarOperand(call.precision, a.dtype, scalar);
}

/** A scalar attribute as a tensor of one element. */
export function scalarOperand(precision: Precision, dtype: DType, scalar: number): Operand {
  const { value, bound } = scalarValue(scalar, dtype, precision);
  const content = { values: Float64Array.of(value), bounds: Float64Array.of(bound) };
  return new Operand(content, { shape: [], dtype });
}

/** Writes a function of each pair of two operands that broadcast to the output. */
export function combinePairs(
  call: KernelCall,
  a: Operand,
  b: Operand,
  y: Result,
  combine: Combine,
): void {
  const { shape } = call.spec(0);
  const left = broadcastPlaces(a.shape, shape);
  const right = broadcastPlaces(b.shape, shape);
  for (let at = 0; at < left.length; at++) {
    const i = left[at] ?? 0;
    const j = right[at] ?? 0;
    const { value, bound } = combine(a.value(i), a.bound(i), b.value(j), b.bound(j));
    y.set(at, value, bound);
  }
}

function combinationOf(kind: BinaryKind, dtype: DType, precision: Precision): Combine {
  if (dtype === "bool") return kind === "and" ? both : either;
  if (kind === "max") return larger;
  if (kind === "min") {
    return (a, ea, b, eb) => {
      const { value, bound } = larger(-a, ea, -b, eb);
      return { value: -value, bound };
    };
  }
  return isFloat(dtype) ? realFunction(kind, dtype, precision) : wholeFunction(kind, dtype);
}

/** A certain false decides alone. */
const both: Combine = (a, ea, b, eb) => {
  const decided = (a === 0 && ea === 0) || (b === 0 && eb === 0);
  return { value: Math.min(a, b), bound: decided ? 0 : Math.max(ea, eb) };
};

/** A certain true decides alone. */
const either: Combine = (a, ea, b, eb) => {
  const decided = (a === 1 && ea === 0) || (b === 1 && eb === 0);
  return { value: Math.max(a, b), bound: decided ? 0 : Math.max(ea, eb) };
};

/**
 * Makes a bound differ from that of the operand it comes from: a maximum that may be either operand
 * is not the copy of one, and `compare` must not take it for one.
 */
const EITHER = 1 + 2 ** -20;

/** The larger of two; NaN loses. */
const larger: Combine = (a, ea, b, eb) => {
  const wins = (x: number, ex: number, y: number, ey: number): boolean =>
    (Number.isNaN(y) && ey === 0) || x - ex > y + ey || (x === y && ex === ey);
  if (wins(a, ea, b, eb)) return { value: a, bound: ea };
  if (wins(b, eb, a, ea)) return { value: b, bound: eb };
  const value = a > b || Number.isNaN(b) ? a : b;
  return { value, bound: Math.max(ea, eb) * EITHER };
};

function realFunction(kind: BinaryKind, dtype: DType, precision: Precision): Combine {
  const settled = (value: number, inherited: number, units: number): Bounded => ({
    value: precision.kept(dtype, value),
    bound: precision.settle(dtype, value, inherited, units),
  });
  /** Of an operation that WGSL rounds correctly: exact where the exact result can be held. */
  const correct = (value: number, inherited: number, isExact: boolean): Bounded =>
    inherited === 0 && isExact && precision.holds(dtype, value)
      ? { value, bound: 0 }
      : settled(value, inherited, ROUNDING * Math.abs(value));
  switch (kind) {
    case "add":
      return (a, ea, b, eb) => correct(a + b, ea + eb, addsExactly(a, b));
    case "sub":
      return (a, ea, b, eb) => correct(a - b, ea + eb, addsExactly(a, -b));
    case "mul":
      return (a, ea, b, eb) =>
        correct(a * b, spreadOfProduct(a, ea, b, eb), isShort(a) && isShort(b));
    case "div":
      return (a, ea, b, eb) => {
        const value = a / b;
        const least = Math.abs(b) - eb;
        if (b !== 0 && !(least > 0 && precision.dividesBy(dtype, least, Math.abs(b) + eb))) {
          return { value: precision.kept(dtype, value), bound: Number.isNaN(b) ? 0 : Infinity };
        }
        if (b === 0 && eb > 0) return { value, bound: Infinity };
        const inherited = ea === 0 && eb === 0 ? 0 : (ea + Math.abs(value) * eb) / least;
        // WGSL: 2.5 ULP.
        return settled(value, inherited, 5 * Math.abs(value));
      };
    case "pow":
      return (a, ea, b, eb) => {
        const value = a ** b;
        return settled(value, spreadOfPower(a, ea, b, eb, value), unitsOfPower(a, b, value));
      };
    default:
      throw new RangeError(`binary ${kind} is not defined on ${dtype}`);
  }
}

function spreadOfProduct(a: number, ea: number, b: number, eb: number): number {
  return ea === 0 && eb === 0 ? 0 : Math.abs(a) * eb + ea * (Math.abs(b) + eb);
}

/** Whether a + b needs no rounding in f64 (Knuth's two-sum: its error term is 0). */
function addsExactly(a: number, b: number): boolean {
  const sum = a + b;
  const second = sum - a;
  return a - (sum - second) + (b - second) === 0;
}

/** Whether a number has so few digits that a product of two such is exact in f64. */
function isShort(x: number): boolean {
  return Math.fround(x) === x;
}

/** How far a power may move: it is monotone in its base and in its exponent. */
function spreadOfPower(a: number, ea: number, b: number, eb: number, value: number): number {
  if (ea === 0 && eb === 0) return 0;
  const far = (base: number, exponent: number): number => Math.abs(base ** exponent - value);
  // What f64 itself may lose in these differences.
  const noise = 2 ** -50 * Math.abs(value);
  if (a - ea > 0) {
    const corners = [a - ea, a + ea].flatMap((base) => [far(base, b - eb), far(base, b + eb)]);
    return Math.max(...corners) + noise;
  }
  if (eb === 0 && b >= 1 && Number.isInteger(b)) {
    return (Math.abs(a) + ea) ** b - Math.abs(a) ** b + noise;
  }
  // A base that may be 0, and is taken for ≥ 0 where the exponent is not whole.
  return a >= 0 && b - eb > 0
    ? Math.max(far(a + ea, b - eb), far(a + ea, b + eb), value)
    : Infinity;
}

/** WGSL: as exp2(b · log2 a), whose ULPs are 3 + 2|b · log2 a| and 3 (2⁻²¹ between ½ and 2). */
function unitsOfPower(a: number, b: number, value: number): number {
  if (value === 0) return 0;
  const exponent = b === 0 ? 0 : Math.abs(b * Math.log2(Math.abs(a)));
  return (8 + 10 * exponent + 6 * Math.abs(b)) * Math.abs(value);
}

function wholeFunction(kind: BinaryKind, dtype: DType): Combine {
  const [low, high] = dtype === "u32" ? [0, 2 ** 32 - 1] : [-(2 ** 31), 2 ** 31 - 1];
  const linear = (value: number, spread: number, stored = wrapped(value, dtype)): Bounded => {
    // Where it may wrap in one place and not in another, it may be anything.
    const inside = value - spread >= low && value + spread <= high;
    return { value: stored, bound: spread === 0 ? 0 : inside ? spread : Infinity };
  };
  switch (kind) {
    case "add":
      return (a, ea, b, eb) => linear(a + b, ea + eb);
    case "sub":
      return (a, ea, b, eb) => linear(a - b, ea + eb);
    case "mul":
      return (a, ea, b, eb) =>
        linear(a * b, spreadOfProduct(a, ea, b, eb), wrapped(Math.imul(a, b), dtype));
    case "div":
      return (a, ea, b, eb) => {
        const value = b === 0 ? 0 : wrapped(Math.trunc(a / b), dtype);
        if (ea === 0 && eb === 0) return { value, bound: 0 };
        return { value, bound: eb === 0 && b !== 0 ? Math.ceil(ea / Math.abs(b)) : Infinity };
      };
    case "rem":
      return (a, ea, b, eb) => ({
        value: b === 0 ? 0 : a % b,
        bound: ea === 0 && eb === 0 ? 0 : Infinity,
      });
    default:
      throw new RangeError(`binary ${kind} is not defined on ${dtype}`);
  }
}
