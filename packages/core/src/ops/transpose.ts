import { type Op, defineOp } from "../op.ts";
import { resolveAxis } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { attributeError } from "./checks.ts";

/** Axis i of the result is axis `permutation[i]` of `x`. Any dtype. */
export const transpose: Op<[x: Tensor], { readonly permutation: readonly number[] }> =
  /*#__PURE__*/ defineOp({
    name: "transpose",
    inputs: ["x"],
    kernel: "inference",
    infer([x], { permutation }) {
      const sorted = [...permutation].sort((a, b) => a - b);
      if (sorted.length !== x.shape.length || sorted.some((axis, index) => axis !== index)) {
        const wanted = `a permutation of the axes of rank ${x.shape.length}`;
        throw attributeError("transpose", "permutation", permutation, wanted);
      }
      return { shape: permutation.map((axis) => x.shape[axis] ?? 0), dtype: x.dtype };
    },
    gradient({ gradients: [gradient], attributes: { permutation } }) {
      return [gradient && transpose(gradient, { permutation: inverted(permutation) })];
    },
  });

/** The permutation that undoes another. */
export function inverted(permutation: readonly number[]): number[] {
  return permutation.map((_, axis) => permutation.indexOf(axis));
}

/** Moves one axis (negative from the end) to another place; the others keep their order. */
export function moveAxis(x: Tensor, from: number, to: number): Tensor {
  const source = resolveAxis(from, x.rank, "moveAxis");
  const target = resolveAxis(to, x.rank, "moveAxis");
  if (source === target) return x;
  const permutation = x.shape.map((_, axis) => axis).filter((axis) => axis !== source);
  permutation.splice(target, 0, source);
  return transpose(x, { permutation });
}
