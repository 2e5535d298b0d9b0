import type { UnaryKind } from "@moiety/core";
import { nearestWhole } from "./half.ts";

/** A function of one float, with what an honest backend may be off by. */
export interface RealFunction {
  value(x: number): number;
  /** At least the largest |f(x′) − f(x)| over |x′ − x| ≤ e, for e > 0; ∞ where there is none. */
  spread(x: number, e: number): number;
  /**
   * What its evaluation adds, in units (half a unit in the last place of 1). "WGSL" is the section
   * "Floating Point Accuracy" of its specification; its ULP is at most two units of the result.
   */
  units(x: number, y: number): number;
}

const exact = (): number => 0;
const lipschitz = (_: number, e: number): number => e;

/** Spread of a function that is constant but for steps. */
function stepping(step: (x: number) => number): RealFunction {
  return {
    value: step,
    spread: (x, e) => Math.max(Math.abs(step(x + e) - step(x)), Math.abs(step(x - e) - step(x))),
    units: exact,
  };
}

/** The smallest magnitude that x may have. */
const nearest0 = (x: number, e: number): number => Math.max(0, Math.abs(x) - e);

/** Functions that no WGSL builtin gives to fewer units: a careful implementation reaches 8. */
const careful = (_: number, y: number): number => 8 + 8 * Math.abs(y);

/** Sine and cosine lose the digits that reducing their argument takes. */
const periodic = (x: number): number => (Math.abs(x) <= 100 ? 16 * (1 + Math.abs(x)) : Infinity);

/** The functions of `unary` on floats that give floats. */
export const REAL_FUNCTIONS: Readonly<Record<Exclude<UnaryKind, "isNaN" | "not">, RealFunction>> = {
  neg: { value: (x) => -x, spread: lipschitz, units: exact },
  abs: { value: (x) => (x < 0 ? -x : x === 0 ? 0 : x), spread: lipschitz, units: exact },
  sign: /*#__PURE__*/ stepping((x) => (x > 0 ? 1 : x < 0 ? -1 : x)),
  floor: /*#__PURE__*/ stepping(Math.floor),
  ceil: /*#__PURE__*/ stepping(Math.ceil),
  round: /*#__PURE__*/ stepping(nearestWhole),
  // WGSL: 3 + 2|x| ULP.
  exp: {
    value: Math.exp,
    spread: (x, e) => e * Math.exp(x + e),
    units: (x, y) => (y === 0 ? 0 : (6 + 4 * Math.abs(x)) * y),
  },
  // WGSL: 3 ULP, and 2⁻²¹, which is 8 units, between ½ and 2.
  log: {
    value: Math.log,
    spread: (x, e) => (x - e > 0 ? e / (x - e) : Infinity),
    units: (_, y) => 8 + 8 * Math.abs(y),
  },
  // Not in WGSL; the op demands that it be exact near 0.
  log1p: {
    value: Math.log1p,
    spread: (x, e) => (1 + x - e > 0 ? e / (1 + x - e) : Infinity),
    units: (x, y) => 8 * Math.min(1, Math.abs(x)) + 8 * Math.abs(y),
  },
  // WGSL: as 1 / inverseSqrt(x), which is 2 ULP and then 2.5.
  sqrt: {
    value: Math.sqrt,
    // Near 0 a root may move by the root of e; what should be ≥ 0 is taken for it.
    spread: (x, e) => {
      if (x < 0) return x + e < 0 ? 0 : Infinity;
      return x - e > 0 ? e / (2 * Math.sqrt(x - e)) : Math.sqrt(x + e);
    },
    units: (_, y) => 9 * y,
  },
  // WGSL: 2 ULP.
  rsqrt: {
    value: (x) => 1 / Math.sqrt(x),
    spread: (x, e) => (x - e > 0 ? (e / 2) * (x - e) ** -1.5 : Infinity),
    units: (_, y) => 4 * y,
  },
  // WGSL: a division, 2.5 ULP.
  reciprocal: {
    value: (x) => 1 / x,
    spread: (x, e) => (nearest0(x, e) > 0 ? e / (Math.abs(x) * nearest0(x, e)) : Infinity),
    units: (_, y) => 5 * Math.abs(y),
  },
  tanh: {
    value: (x) => {
      const size = Math.expm1(2 * Math.min(Math.abs(x), 20));
      return (x < 0 ? -size : size) / (size + 2);
    },
    spread: (x, e) => e / Math.cosh(nearest0(x, e)) ** 2,
    units: careful,
  },
  erf: {
    value: erf,
    spread: (x, e) => (e * 2 * Math.exp(-(nearest0(x, e) ** 2))) / Math.sqrt(Math.PI),
    units: careful,
  },
  sigmoid: {
    value: sigmoid,
    spread: (x, e) => e * sigmoid(nearest0(x, e)) * sigmoid(-nearest0(x, e)),
    units: careful,
  },
  softplus: {
    value: (x) => (x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x))),
    spread: (x, e) => e * sigmoid(x + e),
    units: careful,
  },
  sin: {
    value: Math.sin,
    spread: (x, e) => e * Math.min(1, Math.abs(Math.cos(x)) + e),
    units: periodic,
  },
  cos: {
    value: Math.cos,
    spread: (x, e) => e * Math.min(1, Math.abs(Math.sin(x)) + e),
    units: periodic,
  },
};

function sigmoid(x: number): number {
  return x > 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}

/**
 * The error function by its series without changing signs (Abramowitz and Stegun 7.1.6):
 * 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1 · 3 · … · (2n+1)).
 */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
