import { type Op, defineOp } from "../op.ts";
import { type Shape, resolveAxis } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import {
  DTYPES,
  attributeError,
  requireAxis,
  requireOneDType,
  requireScalar,
  requireSizes,
  shapeError,
} from "./checks.ts";
import { zerosLike } from "./creation.ts";
import { donate } from "../tensor.ts";

export { transpose } from "./transpose.ts";

/**
 * The box of `x` that begins at `starts` and has `sizes`. Any dtype.
 * The box must lie inside (ShapeError).
 */
export const slice: Op<
  [x: Tensor],
  { readonly starts: readonly number[]; readonly sizes: readonly number[] }
> = /*#__PURE__*/ defineOp({
  name: "slice",
  inputs: ["x"],
  kernel: "inference",
  dynamic: ["starts"],
  infer([x], { starts, sizes }) {
    requireBox("slice", x.shape, starts, sizes);
    return { shape: sizes, dtype: x.dtype };
  },
  gradient({ inputs: [x], gradients: [gradient], attributes: { starts } }) {
    return [gradient && writeSlice(donate(zerosLike(x)), gradient, { starts })];
  },
});

/**
 * `target` with `update` (of equal rank and dtype) written over the box that begins at `starts`.
 * Any dtype. Donate the target to have it written in place. The box must lie inside (ShapeError).
 */
export const writeSlice: Op<
  [target: Tensor, update: Tensor],
  { readonly starts: readonly number[] }
> = /*#__PURE__*/ defineOp({
  name: "writeSlice",
  inputs: ["target", "update"],
  kernel: "inference",
  dynamic: ["starts"],
  infer([target, update], { starts }) {
    requireOneDType("writeSlice", [target, update], DTYPES);
    requireBox("writeSlice", target.shape, starts, update.shape);
    return target;
  },
  gradient({ inputs: [, update], gradients: [gradient], attributes: { starts }, needs }) {
    if (!gradient) return [];
    const { shape, dtype } = update;
    return [
      needs[0] ? writeSlice(gradient, zerosLike(update), { starts }) : undefined,
      needs[1] && dtype === gradient.dtype ? slice(gradient, { starts, sizes: shape }) : undefined,
    ];
  },
});

/** The inputs one after another along `axis`; their other sizes and their dtypes are equal. */
export const concat: Op<Tensor[], { readonly axis: number }> = /*#__PURE__*/ defineOp({
  name: "concat",
  inputs: "variadic",
  kernel: "inference",
  infer(inputs, { axis }) {
    const dtype = requireOneDType("concat", inputs, DTYPES);
    const [first] = inputs;
    if (first === undefined) throw shapeError("concat", "needs an input", inputs);
    requireAxis("concat", axis, first);
    let total = 0;
    for (const input of inputs) {
      const fits =
        input.shape.length === first.shape.length &&
        input.shape.every((size, other) => other === axis || size === first.shape[other]);
      if (!fits) throw shapeError("concat", `sizes beside axis ${axis} must be equal`, inputs);
      total += input.shape[axis] ?? 0;
    }
    return { shape: first.shape.with(axis, total), dtype };
  },
  gradient({ inputs, gradients: [gradient], attributes: { axis }, needs }) {
    if (!gradient) return [];
    let start = 0;
    return inputs.map((input, index) => {
      const starts = input.shape.map((_, other) => (other === axis ? start : 0));
      start += input.shape[axis] ?? 0;
      return needs[index] ? slice(gradient, { starts, sizes: input.shape }) : undefined;
    });
  },
});

/** `x` with `before` and `after` elements of `value` added on each axis. Any dtype. */
export const pad: Op<
  [x: Tensor],
  {
    readonly before: readonly number[];
    readonly after: readonly number[];
    /** Rounded to the dtype. */
    readonly value: number;
  }
> = /*#__PURE__*/ defineOp({
  name: "pad",
  inputs: ["x"],
  kernel: "inference",
  dynamic: ["value"],
  infer([x], { before, after, value }) {
    requireSizes("pad", "before", before, x.shape.length);
    requireSizes("pad", "after", after, x.shape.length);
    requireScalar("pad", "value", value, x.dtype);
    const shape = x.shape.map((size, axis) => size + (before[axis] ?? 0) + (after[axis] ?? 0));
    return { shape, dtype: x.dtype };
  },
  gradient({ inputs: [x], gradients: [gradient], attributes: { before } }) {
    return [gradient && slice(gradient, { starts: before, sizes: x.shape })];
  },
});

/** Tensors of one shape as one, along a new axis (negative from the end of the result). */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  const [first] = tensors;
  if (first === undefined) throw attributeError("stack", "tensors", "empty", "at least one tensor");
  const at = resolveAxis(axis, first.rank + 1, "stack");
  const shape = first.shape.toSpliced(at, 0, 1);
  const raised = tensors.map((tensor) => {
    if (tensor.shape.join() === first.shape.join()) return tensor.reshape(shape);
    throw shapeError("stack", "shapes must be equal", tensors);
  });
  return concat(...raised, { axis: at });
}

/**
 * The pieces of `x` along an axis (negative from the end): a number of equal ones, or one of each
 * size given.
 * @throws ShapeError where the sizes do not add up to the axis
 */
export function split(x: Tensor, pieces: number | readonly number[], axis = 0): Tensor[] {
  const at = resolveAxis(axis, x.rank, "split");
  const length = x.shape[at] ?? 0;
  const sizes =
    typeof pieces === "number" ? new Array<number>(pieces).fill(length / pieces) : pieces;
  requireSizes("split", "pieces", sizes);
  if (sizes.reduce((total, size) => total + size, 0) !== length) {
    throw shapeError("split", `pieces [${sizes.join(", ")}] do not add up to axis ${axis}`, [x]);
  }
  let start = 0;
  return sizes.map((size) => {
    const starts = x.shape.map((_, other) => (other === at ? start : 0));
    start += size;
    return slice(x, { starts, sizes: x.shape.with(at, size) });
  });
}

/** Throws unless the box that begins at `starts` and has `sizes` lies inside `shape`. */
function requireBox(
  op: string,
  shape: Shape,
  starts: readonly number[],
  sizes: readonly number[],
): void {
  requireSizes(op, "starts", starts, shape.length);
  requireSizes(op, "sizes", sizes, shape.length);
  if (shape.every((size, axis) => (starts[axis] ?? 0) + (sizes[axis] ?? 0) <= size)) return;
  const box = `starts [${starts.join(", ")}] with sizes [${sizes.join(", ")}]`;
  throw shapeError(op, `${box} reach beyond [${shape.join(", ")}]`, []);
}
