import type { Tensor } from "../tensor.ts";
import { type CompareKind, compare } from "./compare.ts";
import { apply, binary, unary, where } from "./elementwise.ts";
import type { UnaryKind } from "./kinds.ts";

const one = (kind: UnaryKind, x: Tensor): Tensor => unary(x, { kind });

const relation = (kind: CompareKind, a: Tensor, b: Tensor | number): Tensor =>
  typeof b === "number" ? compare(a, undefined, { kind, scalar: b }) : compare(a, b, { kind });

/** a + b. */
export function add(a: Tensor, b: Tensor | number): Tensor {
  return apply("add", a, b);
}

/** a − b. */
export function sub(a: Tensor, b: Tensor | number): Tensor {
  return apply("sub", a, b);
}

/** a · b, element by element. */
export function mul(a: Tensor, b: Tensor | number): Tensor {
  return apply("mul", a, b);
}

/** a / b; integers truncate toward zero, and x/0 is 0 for them. */
export function div(a: Tensor, b: Tensor | number): Tensor {
  return apply("div", a, b);
}

/** The remainder of integers, with the sign of `a`. */
export function rem(a: Tensor, b: Tensor | number): Tensor {
  return apply("rem", a, b);
}

/** The larger of each pair; NaN loses to every number. */
export function maximum(a: Tensor, b: Tensor | number): Tensor {
  return apply("max", a, b);
}

/** The smaller of each pair; NaN loses to every number. */
export function minimum(a: Tensor, b: Tensor | number): Tensor {
  return apply("min", a, b);
}

/** aᵇ, for a ≥ 0 or whole b. */
export function pow(a: Tensor, b: Tensor | number): Tensor {
  return apply("pow", a, b);
}

/** Both. */
export function and(a: Tensor, b: Tensor): Tensor {
  return binary(a, b, { kind: "and" });
}

/** Either or both. */
export function or(a: Tensor, b: Tensor): Tensor {
  return binary(a, b, { kind: "or" });
}

/** The opposite of a `bool`. */
export function not(x: Tensor): Tensor {
  return one("not", x);
}

/** −x. */
export function neg(x: Tensor): Tensor {
  return one("neg", x);
}

/** |x|. */
export function abs(x: Tensor): Tensor {
  return one("abs", x);
}

/** −1, 0 or 1. */
export function sign(x: Tensor): Tensor {
  return one("sign", x);
}

/** eˣ. */
export function exp(x: Tensor): Tensor {
  return one("exp", x);
}

/** The natural logarithm. */
export function log(x: Tensor): Tensor {
  return one("log", x);
}

/** log(1 + x), exact near 0. */
export function log1p(x: Tensor): Tensor {
  return one("log1p", x);
}

/** √x. */
export function sqrt(x: Tensor): Tensor {
  return one("sqrt", x);
}

/** 1/√x. */
export function rsqrt(x: Tensor): Tensor {
  return one("rsqrt", x);
}

/** 1/x. */
export function reciprocal(x: Tensor): Tensor {
  return one("reciprocal", x);
}

/** The hyperbolic tangent. */
export function tanh(x: Tensor): Tensor {
  return one("tanh", x);
}

/** The error function. */
export function erf(x: Tensor): Tensor {
  return one("erf", x);
}

/** 1/(1 + e⁻ˣ). */
export function sigmoid(x: Tensor): Tensor {
  return one("sigmoid", x);
}

/** log(1 + eˣ). */
export function softplus(x: Tensor): Tensor {
  return one("softplus", x);
}

/** The sine of radians. */
export function sin(x: Tensor): Tensor {
  return one("sin", x);
}

/** The cosine of radians. */
export function cos(x: Tensor): Tensor {
  return one("cos", x);
}

/** The next whole number below. */
export function floor(x: Tensor): Tensor {
  return one("floor", x);
}

/** The next whole number above. */
export function ceil(x: Tensor): Tensor {
  return one("ceil", x);
}

/** The nearest whole number, halves to even. */
export function round(x: Tensor): Tensor {
  return one("round", x);
}

/** x². */
export function square(x: Tensor): Tensor {
  return apply("mul", x, x);
}

/** `bool`: whether an element is NaN, by its bits. */
export function isNaN(x: Tensor): Tensor {
  return one("isNaN", x);
}

/** `bool`: a = b. */
export function equal(a: Tensor, b: Tensor | number): Tensor {
  return relation("eq", a, b);
}

/** `bool`: a ≠ b. */
export function notEqual(a: Tensor, b: Tensor | number): Tensor {
  return relation("ne", a, b);
}

/** `bool`: a < b. */
export function less(a: Tensor, b: Tensor | number): Tensor {
  return relation("lt", a, b);
}

/** `bool`: a ≤ b. */
export function lessEqual(a: Tensor, b: Tensor | number): Tensor {
  return relation("le", a, b);
}

/** `bool`: a > b. */
export function greater(a: Tensor, b: Tensor | number): Tensor {
  return relation("gt", a, b);
}

/** `bool`: a ≥ b. */
export function greaterEqual(a: Tensor, b: Tensor | number): Tensor {
  return relation("ge", a, b);
}

/** `a` where the condition is true, else `b`; one of them must be a tensor. */
export function select(condition: Tensor, a: Tensor | number, b: Tensor | number): Tensor {
  const scalarA = typeof a === "number" ? { a } : {};
  const scalarB = typeof b === "number" ? { b } : {};
  return where(
    condition,
    typeof a === "number" ? undefined : a,
    typeof b === "number" ? undefined : b,
    { ...scalarA, ...scalarB },
  );
}
