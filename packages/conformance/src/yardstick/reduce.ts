import { type CumsumAttributes, type ReduceAttributes, isFloat, stridesOf } from "@moiety/core";
import type { Bounded } from "./cast.ts";
import { type Kernel, type KernelCall, type Operand, wrapped } from "./kernel.ts";
import { around, placesOf } from "./places.ts";
import { Sum, stepOf } from "./sum.ts";

/** Sums or extremes over axes; the reduced elements of each output in row-major order. */
export const reduce: Kernel = (call) => {
  const { kind, axes } = call.attributes<ReduceAttributes>();
  const x = call.input(0);
  const y = call.result();
  const strides = stridesOf(x.shape);
  const sizes = (isReduced: boolean): number[] =>
    x.shape.map((size, axis) => (axes.includes(axis) === isReduced ? size : 1));
  const starts = placesOf(sizes(false), strides);
  const within = placesOf(sizes(true), strides);
  const take =
    kind !== "sum" ? extreme(x, kind) : isFloat(x.dtype) ? floatSum(call, x) : wholeSum(x);
  for (const [at, start] of starts.entries()) {
    const { value, bound } = take(start, within);
    y.set(at, value, bound);
  }
  return [y];
};

/** Takes the elements at `start` plus each of `within` into one number. */
type Take = (start: number, within: Float64Array) => Bounded;

function floatSum({ precision }: KernelCall, x: Operand): Take {
  const sum = new Sum(precision, x.dtype, stepOf(x));
  return (start, within) => {
    sum.reset();
    for (const place of within) sum.add(x.value(start + place), x.bound(start + place));
    return sum;
  };
}

function wholeSum(x: Operand): Take {
  return (start, within) => {
    let value = 0;
    let bound = 0;
    for (const place of within) {
      value = wrapped(value + x.value(start + place), x.dtype);
      bound += x.bound(start + place);
    }
    return { value, bound };
  };
}

/**
 * The largest (smallest) element; NaN loses. Its bound is that of the elements that may be it: those
 * that can reach what the winner has for sure. If there are several, the bound is a little more, so
 * that none of them is taken for the winner's copy (see `compare`).
 */
function extreme(x: Operand, kind: "max" | "min"): Take {
  const sign = kind === "max" ? 1 : -1;
  return (start, within) => {
    let best = NaN;
    let sure = -Infinity;
    for (const place of within) {
      const value = sign * x.value(start + place);
      if (Number.isNaN(value)) continue;
      if (!(value <= best)) best = value;
      sure = Math.max(sure, value - x.bound(start + place));
    }
    let bound = 0;
    let candidates = 0;
    for (const place of within) {
      const value = sign * x.value(start + place);
      const own = x.bound(start + place);
      if (!(value + own >= sure) && own !== Infinity) continue;
      candidates++;
      bound = Math.max(bound, own);
    }
    return { value: sign * best, bound: candidates > 1 ? bound * (1 + 2 ** -20) : bound };
  };
}

/** Running sums along an axis. */
export const cumsum: Kernel = (call) => {
  const { axis, exclusive, reverse } = call.attributes<CumsumAttributes>();
  const x = call.input(0);
  const y = call.result();
  const [outer, size, inner] = around(x.shape, axis);
  const sum = new Sum(call.precision, x.dtype, stepOf(x));
  for (let lane = 0; lane < outer * inner; lane++) {
    const start = Math.floor(lane / inner) * size * inner + (lane % inner);
    let whole = 0;
    let uncertain = 0;
    sum.reset();
    for (let step = 0; step < size; step++) {
      const at = start + (reverse ? size - 1 - step : step) * inner;
      const write = (): void => {
        if (isFloat(x.dtype)) y.set(at, sum.value, sum.bound);
        else y.set(at, whole, uncertain);
      };
      if (exclusive) write();
      sum.add(x.value(at), x.bound(at));
      whole = wrapped(whole + x.value(at), x.dtype);
      uncertain += x.bound(at);
      if (!exclusive) write();
    }
  }
  return [y];
};
