import { type UnaryKind, isFloat } from "@moiety/core";
import { REAL_FUNCTIONS, type RealFunction } from "./functions.ts";
import { type Kernel, type KernelCall, type Operand, type Result, wrapped } from "./kernel.ts";

/** A function of each element. */
export const unary: Kernel = (call) => {
  const { kind } = call.attributes<{ kind: UnaryKind }>();
  const x = call.input(0);
  const y = call.result();
  if (kind === "not") {
    for (let at = 0; at < x.size; at++) y.set(at, 1 - x.value(at), x.bound(at));
  } else if (kind === "isNaN") {
    for (let at = 0; at < x.size; at++) {
      y.set(at, Number.isNaN(x.value(at)) ? 1 : 0, x.bound(at) === Infinity ? 1 : 0);
    }
  } else if (isFloat(x.dtype)) {
    applyReal(call, REAL_FUNCTIONS[kind], x, y);
  } else {
    applyWhole(REAL_FUNCTIONS[kind], x, y);
  }
  return [y];
};

function applyReal({ precision }: KernelCall, f: RealFunction, x: Operand, y: Result): void {
  for (let at = 0; at < x.size; at++) {
    const value = x.value(at);
    const result = f.value(value);
    const inherited = x.bound(at) === 0 ? 0 : f.spread(value, x.bound(at));
    const bound = precision.settle(x.dtype, result, inherited, f.units(value, result));
    y.set(at, precision.kept(x.dtype, result), bound);
  }
}

/** `neg`, `abs` and `sign` of whole numbers. */
function applyWhole(f: RealFunction, x: Operand, y: Result): void {
  for (let at = 0; at < x.size; at++) {
    const inherited = x.bound(at) === 0 ? 0 : f.spread(x.value(at), x.bound(at));
    y.set(at, wrapped(f.value(x.value(at)), x.dtype), inherited);
  }
}
