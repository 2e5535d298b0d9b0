import { type CompareKind, isFloat } from "@moiety/core";
import { combinePairs, rightOperand } from "./binary.ts";
import type { Kernel } from "./kernel.ts";

/**
 * Whether a relation holds for each pair of elements. Where the bounds allow either answer, it is
 * uncertain (bound 1), but for two numbers with equal values and equal bounds: those are one number
 * that was computed once, as when a maximum is compared with the elements that it was taken from.
 */
export const compare: Kernel = (call) => {
  const { kind, scalar } = call.attributes<{ kind: CompareKind; scalar?: number }>();
  const a = call.input(0);
  const y = call.result();
  combinePairs(call, a, rightOperand(call, a, scalar), y, (left, eLeft, right, eRight) => {
    const value = RELATIONS[kind](left, right) ? 1 : 0;
    const either = eLeft + eRight;
    const once = isFloat(a.dtype) && left === right && eLeft === eRight && either < Infinity;
    if (either === 0 || once) return { value, bound: 0 };
    const apart =
      Math.abs(left - right) > either || (Number.isNaN(left - right) && either < Infinity);
    return { value, bound: apart ? 0 : 1 };
  });
  return [y];
};

const RELATIONS: Readonly<Record<CompareKind, (a: number, b: number) => boolean>> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
  gt: (a, b) => a > b,
  ge: (a, b) => a >= b,
};
