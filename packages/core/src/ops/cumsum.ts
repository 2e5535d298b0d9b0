import { type Op, defineOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { NUMBERS, requireAxis, requireDType } from "./checks.ts";

/** Attributes of {@link cumsum}. */
export interface CumsumAttributes {
  /** From 0. */
  readonly axis: number;
  /** Leave an element's own value out of its sum. */
  readonly exclusive?: boolean | undefined;
  /** Sum from the end. */
  readonly reverse?: boolean | undefined;
}

/**
 * Running sums along `axis`: element i is the sum of elements 0…i, added in that order; `exclusive`
 * gives 0…i−1 (0 at the first), `reverse` runs from the last element to the first. Integers wrap.
 */
export const cumsum: Op<[x: Tensor], CumsumAttributes> = /*#__PURE__*/ defineOp({
  name: "cumsum",
  inputs: ["x"],
  kernel: "inference",
  infer([x], { axis }) {
    requireDType("cumsum", "x", x.dtype, NUMBERS);
    requireAxis("cumsum", axis, x);
    return x;
  },
  gradient({ gradients: [gradient], attributes }) {
    return [gradient && cumsum(gradient, { ...attributes, reverse: !attributes.reverse })];
  },
});
