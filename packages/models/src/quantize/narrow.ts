import {
  NumericError,
  type Shape,
  type Tensor,
  abs,
  cast,
  donate,
  greaterEqual,
  isFloat,
  isNaN,
  max,
  or,
  slice,
  writeSlice,
  zeros,
} from "@moiety/core";
import type { RestDType } from "./quantization.ts";

/** Elements that are cast at once. */
const PIECE = 1 << 20;

/** The least size that becomes infinite: the largest number and half a step. */
const BEYOND: Readonly<Record<RestDType, number>> = {
  f32: Infinity,
  f16: 65520,
  bf16: 2 ** 127 * (2 - 2 ** -8),
};

/**
 * A leaf in another dtype, made a few rows at a time.
 * @throws NumericError naming the path, where a number is not finite there
 */
export async function narrowed(leaf: Tensor, dtype: RestDType, path: string): Promise<Tensor> {
  const [rows = 0, ...row] = leaf.shape;
  const width = row.reduce((product, size) => product * size, 1);
  const step = Math.max(1, Math.floor(PIECE / Math.max(width, 1)));
  let target = zeros(leaf.backend, leaf.shape, dtype);
  try {
    for (let first = 0; first < rows; first += step) {
      const starts = [first, ...row.map(() => 0)];
      const piece = wideSlice(leaf, starts, [Math.min(step, rows - first), ...row]);
      const bad = leaf.backend.scope(() => {
        target = writeSlice(donate(target), cast(piece, { dtype }), { starts });
        return { target, bad: outOfRange(piece, dtype) };
      });
      piece.dispose();
      const isBad = await bad.bad.item();
      bad.bad.dispose();
      if (isBad !== 0) throw beyond(path, dtype);
    }
    return target;
  } catch (error) {
    target.dispose();
    throw error;
  }
}

/** A box of a tensor in a dtype that kernels compute in. */
export function wideSlice(x: Tensor, starts: readonly number[], sizes: Shape): Tensor {
  const box = slice(x, { starts, sizes });
  if (isFloat(box.dtype)) return box;
  const wide = cast(box, { dtype: "f32" });
  box.dispose();
  return wide;
}

/** 1 where a number is NaN or would become infinite, else 0. */
function outOfRange(x: Tensor, dtype: RestDType): Tensor {
  const large = greaterEqual(abs(x), BEYOND[dtype]);
  return max(cast(or(isNaN(x), large), { dtype: "f32" }));
}

function beyond(path: string, dtype: RestDType): NumericError {
  return new NumericError(`${path} holds a number that is not finite, or is not in ${dtype}`);
}
