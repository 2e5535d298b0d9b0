import { type DType, isFloat } from "@moiety/core";
import { HALVES, rounded, spacing } from "./half.ts";
import { type Kernel, wrapped } from "./kernel.ts";
import { type Precision, ROUNDING } from "./precision.ts";

/** The values in another dtype. */
export const cast: Kernel = (call) => {
  const x = call.input(0);
  const { dtype } = call.spec(0);
  const y = call.result();
  for (let at = 0; at < x.size; at++) {
    const { value, bound } = castValue(x.value(at), x.bound(at), x.dtype, dtype, call.precision);
    y.set(at, value, bound);
  }
  return [y];
};

/** A number with its bound. */
export interface Bounded {
  readonly value: number;
  readonly bound: number;
}

/** A scalar attribute as a dtype keeps it. */
export function scalarValue(scalar: number, dtype: DType, precision: Precision): Bounded {
  if (!isFloat(dtype)) return castValue(scalar, 0, "f64", dtype, precision);
  return { value: precision.kept(dtype, scalar), bound: precision.scalar(dtype, scalar) };
}

/** One value, and its bound, in another dtype. */
export function castValue(
  value: number,
  bound: number,
  from: DType,
  to: DType,
  precision: Precision,
): Bounded {
  if (from === to) return { value, bound };
  if (isFloat(to)) return castToFloat(value, bound, from, to, precision);
  if (to === "f16" || to === "bf16") return castToHalf(value, bound, to);
  if (to === "bool") {
    const mayBeZero = Math.abs(value) <= bound && bound > 0;
    return { value: value === 0 ? 0 : 1, bound: mayBeZero ? 1 : 0 };
  }
  // i32 to u32 and back keeps the bits.
  if (isWord(from) && isWord(to)) return { value: wrapped(value, to), bound };
  const stored = saturated(value, to);
  if (bound === 0) return { value: stored, bound: 0 };
  const ends = [saturated(value - bound, to), saturated(value + bound, to)];
  return { value: stored, bound: Math.max(...ends.map((end) => Math.abs(end - stored))) };
}

function isWord(dtype: DType): boolean {
  return dtype === "i32" || dtype === "u32";
}

/** Between floats nothing is rounded but what the dtype cannot hold; whole numbers may be long. */
function castToFloat(
  value: number,
  bound: number,
  from: DType,
  to: DType,
  precision: Precision,
): Bounded {
  const stored = precision.kept(to, value);
  if (isFloat(from)) {
    if (to === "f64" || stored === value) return { value: stored, bound };
    return { value: stored, bound: precision.settle(to, value, bound, ROUNDING * Math.abs(value)) };
  }
  if (from === "f16") {
    // A backend may flush subnormals of any format.
    const flushed = Math.abs(value) < 2 ** HALVES.f16.least ? Math.abs(value) : 0;
    return { value: stored, bound: bound + flushed };
  }
  if (bound === 0 && precision.holds(to, value)) return { value: stored, bound: 0 };
  const units = precision.holds(to, value) ? 0 : ROUNDING * Math.abs(value);
  return { value: stored, bound: precision.settle(to, value, bound, units) };
}

/**
 * To a narrower float either neighbour of the exact value is allowed, and zero for a subnormal. Of
 * bfloat16, which is cut out of float32's bits, the nearest one is demanded.
 */
function castToHalf(value: number, bound: number, to: "f16" | "bf16"): Bounded {
  const format = HALVES[to];
  const stored = rounded(value, format);
  if (Number.isNaN(value)) return { value: stored, bound };
  const size = Math.abs(value) + bound;
  if (size === Infinity) return { value: stored, bound };
  const largest = (2 - 2 ** -format.fraction) * 2 ** format.most;
  const isExact = bound === 0 && (stored === value || to === "bf16");
  if (!isExact && size > largest && Math.abs(value) - bound < 2 ** (format.most + 1)) {
    return { value: stored, bound: Infinity };
  }
  if (!Number.isFinite(stored)) return { value: stored, bound: 0 };
  const subnormal = Math.abs(value) - bound < 2 ** format.least;
  const flushed = subnormal ? Math.min(size, 2 ** format.least) : 0;
  return { value: stored, bound: (isExact ? 0 : bound + spacing(size, format)) + flushed };
}

/** A number toward zero, at the ends of the range where it is beyond them; NaN is 0. */
function saturated(value: number, dtype: DType): number {
  const [low, high] = RANGES[dtype] ?? [0, 1];
  if (Number.isNaN(value)) return 0;
  return Math.min(Math.max(Math.trunc(value), low), high);
}

const RANGES: Readonly<Partial<Record<DType, readonly [number, number]>>> = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
  u8: [0, 255],
};
