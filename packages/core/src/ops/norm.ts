import type { TensorSpec } from "../contract.ts";
import { pullBack } from "../gradient.ts";
import { type Op, defineOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { add, mul, rsqrt, square } from "./arithmetic.ts";
import {
  type Specs,
  FLOATS,
  requireFinite,
  requireOneDType,
  requireRank,
  requireShape,
} from "./checks.ts";
import { zerosLike } from "./creation.ts";
import { mean } from "./reduction.ts";

/** Attributes of {@link rmsNorm}. */
export interface RmsNormAttributes {
  /** Added to the mean square. */
  readonly epsilon: number;
}

type NormInputs = [x: Tensor, weight: Tensor];

/**
 * Root-mean-square norm (Zhang and Sennrich, 2019) over the last axis: `x […, H]`, `weight [H]` →
 * `x · rstd · weight` with `rstd = 1/√(mean(x²) + epsilon)`. Float. Residual: `rstd […, 1]`.
 */
export const rmsNorm: Op<NormInputs, RmsNormAttributes, Tensor, [rstd: Tensor]> =
  /*#__PURE__*/ defineOp<NormInputs, RmsNormAttributes, Tensor, [rstd: Tensor]>({
    name: "rmsNorm",
    inputs: ["x", "weight"],
    dynamic: ["epsilon"],
    infer([x, weight], { epsilon }) {
      requireNorm("rmsNorm", epsilon, x, weight, [x, weight]);
      return x;
    },
    residuals: ([x]) => [rstdOf(x)],
    gradient({ inputs: [x, weight], residuals: [rstd], gradients: [gradient], attributes }) {
      return gradient ? rmsNormBackward(x, weight, rstd, gradient, attributes) : [];
    },
    backward: () => rmsNormBackward,
    decompose: ([x, weight], { epsilon }) => normalize(x, weight, epsilon),
  });

/**
 * Gradients of {@link rmsNorm} with respect to `x` and `weight` from its inputs, its residual and
 * the gradient of its output. That of the weight adds the rows in order.
 */
export const rmsNormBackward: Op<
  [x: Tensor, weight: Tensor, rstd: Tensor, gradient: Tensor],
  RmsNormAttributes,
  [x: Tensor, weight: Tensor]
> = /*#__PURE__*/ defineOp({
  name: "rmsNormBackward",
  inputs: ["x", "weight", "rstd", "gradient"],
  outputs: ["x", "weight"],
  dynamic: ["epsilon"],
  infer([x, weight, rstd, gradient], { epsilon }) {
    const op = "rmsNormBackward";
    const inputs = [x, weight, rstd, gradient];
    requireNorm(op, epsilon, x, weight, inputs);
    requireShape(op, "rstd", rstd, rstdOf(x).shape, inputs);
    requireShape(op, "gradient", gradient, x.shape, inputs);
    return [x, weight];
  },
  decompose([x, weight, , gradient], { epsilon }) {
    const [dx, dWeight] = pullBack(
      [x, weight],
      (...[a, b]) => [normalize(a as Tensor, b as Tensor, epsilon)],
      [gradient],
    );
    return [dx ?? zerosLike(x), dWeight ?? zerosLike(weight)];
  },
});

function normalize(x: Tensor, weight: Tensor, epsilon: number): Tensor {
  return mul(mul(x, rsqrt(add(mean(square(x), [-1], true), epsilon))), weight);
}

function rstdOf(x: TensorSpec): TensorSpec {
  return { shape: x.shape.with(-1, 1), dtype: x.dtype };
}

function requireNorm(
  op: string,
  epsilon: number,
  x: TensorSpec,
  weight: TensorSpec,
  inputs: Specs,
): void {
  requireOneDType(op, inputs, FLOATS);
  requireRank(op, "x", x, 1);
  requireShape(op, "weight", weight, x.shape.slice(-1), inputs);
  requireFinite(op, "epsilon", epsilon);
}
