/**
 * The elementwise ops, and with them `broadcast` and `reduce`: their gradients need one another,
 * which is why they share a file.
 */
import type { DType } from "../dtype.ts";
import { type Op, defineOp } from "../op.ts";
import { type Shape, broadcastAxes, broadcastShapes, sameShape, sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { cast } from "./cast.ts";
import {
  COMPUTED,
  DTYPES,
  NUMBERS,
  attributeError,
  requireAxis,
  requireDType,
  requireOneDType,
  requireOneOf,
  requireScalar,
  requireSizes,
  shapeError,
} from "./checks.ts";
import { compare } from "./compare.ts";
import { cumsum } from "./cumsum.ts";
import { BINARY, type BinaryKind, UNARY, type UnaryKind } from "./kinds.ts";
import { inverted, transpose } from "./transpose.ts";

/** Attributes of {@link binary}. */
export interface BinaryAttributes {
  readonly kind: BinaryKind;
  /** Stands on the right where there is no `b`. */
  readonly scalar?: number | undefined;
}

/** A binary function of a tensor and a tensor or number. */
export function apply(kind: BinaryKind, a: Tensor, b: Tensor | number): Tensor {
  return typeof b === "number" ? binary(a, undefined, { kind, scalar: b }) : binary(a, b, { kind });
}

type UnaryRule = (gradient: Tensor, x: Tensor, y: Tensor) => Tensor;

const times = (a: Tensor, b: Tensor | number): Tensor => apply("mul", a, b);
const negated = (x: Tensor): Tensor => unary(x, { kind: "neg" });
/** 1 − x. */
const complement = (x: Tensor): Tensor => apply("add", negated(x), 1);

const UNARY_RULES: Readonly<Partial<Record<UnaryKind, UnaryRule>>> = {
  neg: negated,
  abs: (gradient, x) => times(gradient, unary(x, { kind: "sign" })),
  exp: (gradient, _, y) => times(gradient, y),
  log: (gradient, x) => apply("div", gradient, x),
  log1p: (gradient, x) => apply("div", gradient, apply("add", x, 1)),
  sqrt: (gradient, _, y) => apply("div", times(gradient, 0.5), y),
  rsqrt: (gradient, _, y) => times(times(gradient, -0.5), times(y, times(y, y))),
  reciprocal: (gradient, _, y) => negated(times(gradient, times(y, y))),
  tanh: (gradient, _, y) => times(gradient, complement(times(y, y))),
  erf: (gradient, x) =>
    times(gradient, times(unary(negated(times(x, x)), { kind: "exp" }), 2 / Math.sqrt(Math.PI))),
  sigmoid: (gradient, _, y) => times(gradient, times(y, complement(y))),
  softplus: (gradient, x) => times(gradient, unary(x, { kind: "sigmoid" })),
  sin: (gradient, x) => times(gradient, unary(x, { kind: "cos" })),
  cos: (gradient, x) => negated(times(gradient, unary(x, { kind: "sin" }))),
};

/**
 * A function of each element.
 *
 * On f32, f64, i32, u32: `neg` (u32 and −2³¹ wrap), `abs`, `sign` (−1, 0, 1; NaN stays NaN).
 * On f32, f64: `exp`, `log`, `log1p`, `sqrt`, `rsqrt` (1/√x), `reciprocal` (1/x), `tanh`, `erf`,
 * `sigmoid` (1/(1+e⁻ˣ), finite for every finite x), `softplus` (log(1+eˣ), x itself where eˣ
 * overflows), `sin`, `cos`, `floor`, `ceil`, `round` (halves to even), `isNaN` (→ bool, by bits).
 * On bool: `not`.
 *
 * `sign`, `floor`, `ceil` and `round` have no gradient; that of `abs` at 0 is 0.
 */
export const unary: Op<[x: Tensor], { readonly kind: UnaryKind }> = /*#__PURE__*/ defineOp({
  name: "unary",
  inputs: ["x"],
  kernel: "inference",
  infer([x], { kind }) {
    requireOneOf("unary", "kind", kind, Object.keys(UNARY));
    requireDType(`unary ${kind}`, "x", x.dtype, UNARY[kind]);
    return kind === "isNaN" ? { shape: x.shape, dtype: "bool" } : x;
  },
  gradient({ inputs: [x], outputs: [y], gradients: [gradient], attributes: { kind } }) {
    return [gradient && UNARY_RULES[kind]?.(gradient, x, y)];
  },
});

/**
 * A function of each pair of elements; shapes broadcast. Without `b` the scalar stands on the
 * right, rounded to the dtype (for integers it must be whole).
 *
 * On f32, f64, i32, u32: `add`, `sub`, `mul` (integers wrap), `div` (integers truncate toward zero;
 * x/0 is 0, −2³¹/−1 wraps), `max`, `min` (NaN loses to every number; two NaN give NaN).
 * On f32, f64: `pow` (defined for a ≥ 0, and for a < 0 where b is whole).
 * On i32, u32: `rem` (sign of the dividend; x rem 0 is 0). On bool: `and`, `or`.
 *
 * Where `max` or `min` has equal operands the gradient goes to the first.
 */
export const binary: Op<[a: Tensor, b?: Tensor], BinaryAttributes> = /*#__PURE__*/ defineOp({
  name: "binary",
  inputs: ["a", "b?"],
  kernel: "inference",
  dynamic: ["scalar"],
  infer([a, b], { kind, scalar }) {
    requireOneOf("binary", "kind", kind, Object.keys(BINARY));
    const op = `binary ${kind}`;
    const dtype = requireOneDType(op, [a, b], BINARY[kind]);
    if (!b) requireScalar(op, "scalar", scalar as number, dtype);
    return { shape: b ? broadcastShapes(a.shape, b.shape, op) : a.shape, dtype };
  },
  gradient({ inputs: [a, b], outputs: [y], gradients: [gradient], attributes, needs }) {
    if (!gradient) return [];
    const { kind, scalar = 0 } = attributes;
    const left = needs[0] ? leftGradient(kind, gradient, a, b ?? scalar, y) : undefined;
    const right = needs[1] && b ? rightGradient(kind, gradient, a, b, y) : undefined;
    return [left && sumTo(left, a.shape), right && b && sumTo(right, b.shape)];
  },
});

function leftGradient(
  kind: BinaryKind,
  gradient: Tensor,
  a: Tensor,
  b: Tensor | number,
  y: Tensor,
): Tensor | undefined {
  switch (kind) {
    case "add":
    case "sub":
      return gradient;
    case "mul":
    case "div":
      return apply(kind, gradient, b);
    case "max":
    case "min":
      return where(compare(y, a, { kind: "eq" }), gradient, undefined, { b: 0 });
    case "pow": {
      const power = apply("pow", a, typeof b === "number" ? b - 1 : apply("sub", b, 1));
      if (typeof b === "number")
        return b === 0 ? times(gradient, 0) : times(gradient, times(power, b));
      // 0 · 0^(−1) would be NaN where the exponent is 0.
      const flat = compare(b, undefined, { kind: "eq", scalar: 0 });
      return times(gradient, where(flat, undefined, times(power, b), { a: 0 }));
    }
    default:
      return undefined;
  }
}

function rightGradient(
  kind: BinaryKind,
  gradient: Tensor,
  a: Tensor,
  b: Tensor,
  y: Tensor,
): Tensor | undefined {
  switch (kind) {
    case "add":
      return gradient;
    case "sub":
      return negated(gradient);
    case "mul":
      return times(gradient, a);
    case "div":
      return negated(apply("div", times(gradient, y), b));
    case "max":
    case "min":
      return where(compare(y, a, { kind: "eq" }), undefined, gradient, { a: 0 });
    case "pow": {
      // 0^b does not move with b, though log 0 is infinite.
      const zero = compare(a, undefined, { kind: "eq", scalar: 0 });
      const slope = times(y, unary(a, { kind: "log" }));
      return times(gradient, where(zero, undefined, slope, { a: 0 }));
    }
    default:
      return undefined;
  }
}

/** Attributes of {@link where}. */
export interface WhereAttributes {
  /** Stands for the absent tensor `a`. */
  readonly a?: number | undefined;
  /** Stands for the absent tensor `b`. */
  readonly b?: number | undefined;
  /** Needed only where both are scalars. */
  readonly dtype?: DType | undefined;
}

/**
 * `a` where the condition is true, else `b`; the three shapes broadcast. A missing tensor is the
 * scalar attribute of its name, rounded to the dtype. The value that is not chosen is not looked
 * at: a NaN there does no harm.
 */
export const where: Op<
  [condition: Tensor, a: Tensor | undefined, b: Tensor | undefined],
  WhereAttributes
> = /*#__PURE__*/ defineOp({
  name: "where",
  inputs: ["condition", "a?", "b?"],
  kernel: "inference",
  dynamic: ["a", "b"],
  infer([condition, a, b], attributes) {
    requireDType("where", "condition", condition.dtype, ["bool"]);
    const dtype = a?.dtype ?? b?.dtype ?? attributes.dtype;
    if (dtype === undefined)
      throw attributeError("where", "dtype", dtype, "given with two scalars");
    requireDType("where", "dtype", dtype, COMPUTED);
    if (a && b) requireOneDType("where", [a, b], COMPUTED);
    if (!a) requireScalar("where", "a", attributes.a as number, dtype);
    if (!b) requireScalar("where", "b", attributes.b as number, dtype);
    let shape = condition.shape;
    for (const side of [a, b]) if (side) shape = broadcastShapes(shape, side.shape, "where");
    return { shape, dtype };
  },
  gradient({ inputs: [condition, a, b], gradients: [gradient], needs }) {
    if (!gradient) return [];
    const left = a && needs[1] ? where(condition, gradient, undefined, { b: 0 }) : undefined;
    const right = b && needs[2] ? where(condition, undefined, gradient, { a: 0 }) : undefined;
    return [undefined, a && left && sumTo(left, a.shape), b && right && sumTo(right, b.shape)];
  },
});

/** `x` repeated to a shape that it broadcasts to. Any dtype. */
export const broadcast: Op<[x: Tensor], { readonly shape: Shape }> = /*#__PURE__*/ defineOp({
  name: "broadcast",
  inputs: ["x"],
  kernel: "inference",
  infer([x], { shape }) {
    requireSizes("broadcast", "shape", shape);
    requireDType("broadcast", "x", x.dtype, DTYPES);
    if (!sameShape(broadcastShapes(x.shape, shape, "broadcast"), shape)) {
      throw shapeError("broadcast", `x does not broadcast to [${shape.join(", ")}]`, [x]);
    }
    return { shape, dtype: x.dtype };
  },
  gradient({ inputs: [x], gradients: [gradient] }) {
    return [gradient && sumTo(gradient, x.shape)];
  },
});

/** The functions of {@link reduce}. */
export type ReduceKind = "sum" | "max" | "min";

/** Attributes of {@link reduce}. */
export interface ReduceAttributes {
  readonly kind: ReduceKind;
  /** From 0, ascending, each once. */
  readonly axes: readonly number[];
  /** Keep reduced axes with size 1 instead of removing them. */
  readonly keepDims?: boolean | undefined;
}

/**
 * Reduces axes: `sum` adds in row-major order of the reduced elements (integers wrap; an empty sum
 * is 0), `max` and `min` take the extreme (NaN loses to every number; of an empty set: ShapeError).
 * The gradient of `max` and `min` goes to the first extreme element in row-major order.
 */
export const reduce: Op<[x: Tensor], ReduceAttributes> = /*#__PURE__*/ defineOp({
  name: "reduce",
  inputs: ["x"],
  kernel: "inference",
  infer([x], { kind, axes, keepDims }) {
    const op = `reduce ${kind}`;
    requireOneOf("reduce", "kind", kind, ["sum", "max", "min"]);
    requireDType(op, "x", x.dtype, NUMBERS);
    for (const [index, axis] of axes.entries()) {
      requireAxis(op, axis, x);
      if (index > 0 && axis <= (axes[index - 1] ?? 0)) {
        throw attributeError(op, "axes", axes, "ascending, each axis once");
      }
    }
    const kept = x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
    if (kind !== "sum" && sizeOf(x.shape) === 0 && sizeOf(kept) > 0) {
      throw shapeError(op, "an empty set has no extreme", [x]);
    }
    const shape = keepDims ? kept : x.shape.filter((_, axis) => !axes.includes(axis));
    return { shape, dtype: x.dtype };
  },
  gradient({ inputs: [x], outputs: [y], gradients: [gradient], attributes: { kind, axes } }) {
    if (!gradient) return [];
    const kept = x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
    const spread = gradient.reshape(kept);
    if (kind === "sum") return [broadcast(spread, { shape: x.shape })];
    const first = firstAlong(compare(x, y.reshape(kept), { kind: "eq" }), axes);
    return [where(first, spread, undefined, { b: 0 })];
  },
});

/** Of the true elements along the axes, the first in row-major order alone. */
function firstAlong(hits: Tensor, axes: readonly number[]): Tensor {
  const rest = hits.shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
  const permutation = [...rest, ...axes];
  const moved = transpose(cast(hits, { dtype: "i32" }), { permutation });
  const outer = sizeOf(moved.shape.slice(0, rest.length));
  const inner = sizeOf(moved.shape.slice(rest.length));
  const before = cumsum(moved.reshape([outer, inner]), { axis: 1, exclusive: true });
  const unseen = compare(before, undefined, { kind: "eq", scalar: 0 }).reshape(moved.shape);
  return binary(hits, transpose(unseen, { permutation: inverted(permutation) }), { kind: "and" });
}

/** Sums a gradient over the axes along which a value of `shape` was broadcast. */
export function sumTo(gradient: Tensor, shape: Shape): Tensor {
  const axes = broadcastAxes(shape, gradient.shape);
  const summed = axes.length === 0 ? gradient : reduce(gradient, { kind: "sum", axes });
  return sameShape(summed.shape, shape) ? summed : summed.reshape(shape);
}
