import { type Op, defineOp } from "../op.ts";
import { broadcastShapes, sameShape, sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { add, div, equal, exp, log, mul, select, sub } from "./arithmetic.ts";
import { requireDType, requireFloat, requireRank, shapeError } from "./checks.ts";
import { zerosLike } from "./creation.ts";
import { max, sum } from "./reduction.ts";

/**
 * e^x over its sum along the last axis, the maximum subtracted first. Float. Where a `mask` (bool,
 * broadcasts to `x`; a kernel may be asked for either) is false the result is 0 and `x` is not
 * looked at; a row without a true entry is all zeros. A NaN that counts makes its whole row NaN, masked
 * places too.
 */
export const softmax: Op<[x: Tensor, mask?: Tensor]> = /*#__PURE__*/ defineOp({
  name: "softmax",
  inputs: ["x", "mask?"],
  infer([x, mask]) {
    requireFloat("softmax", "x", x.dtype);
    requireRank("softmax", "x", x, 1);
    if (mask) {
      requireDType("softmax", "mask", mask.dtype, ["bool"]);
      if (!sameShape(broadcastShapes(x.shape, mask.shape, "softmax"), x.shape)) {
        throw shapeError("softmax", "mask does not broadcast to x", [x, mask]);
      }
    }
    return x;
  },
  gradient({ outputs: [y], gradients: [gradient] }) {
    if (!gradient) return [];
    return [mul(y, sub(gradient, sum(mul(gradient, y), [-1], true)))];
  },
  decompose([x, mask]) {
    if (x.size === 0) return zerosLike(x);
    if (!mask) {
      const powers = exp(sub(x, max(x, [-1], true)));
      return div(powers, sum(powers, [-1], true));
    }
    const top = max(select(mask, x, lowest(x)), [-1], true);
    const powers = select(mask, exp(sub(x, top)), 0);
    const total = sum(powers, [-1], true);
    return div(powers, select(equal(total, 0), 1, total));
  },
});

/**
 * log Σ e^x along the last axis, which is removed; the maximum is subtracted first. Float. Of no
 * elements: ShapeError.
 */
export const logSumExp: Op<[x: Tensor]> = /*#__PURE__*/ defineOp({
  name: "logSumExp",
  inputs: ["x"],
  infer([x]) {
    requireFloat("logSumExp", "x", x.dtype);
    requireRank("logSumExp", "x", x, 1);
    const shape = x.shape.slice(0, -1);
    if (x.shape.at(-1) === 0 && sizeOf(shape) > 0) {
      throw shapeError("logSumExp", "the last axis is empty", [x]);
    }
    return { shape, dtype: x.dtype };
  },
  gradient({ inputs: [x], gradients: [gradient] }) {
    return [gradient && mul(softmax(x), gradient.reshape([...gradient.shape, 1]))];
  },
  decompose([x]) {
    const top = max(x, [-1], true);
    const total = sum(exp(sub(x, top)), [-1]);
    return add(log(total), top.reshape(total.shape));
  },
});

/** The lowest finite number: masks are no −∞ data. */
function lowest(x: Tensor): number {
  return x.dtype === "f64" ? -Number.MAX_VALUE : -3.4028234663852886e38;
}
