import type { TensorSpec } from "../contract.ts";
import type { FloatDType } from "../dtype.ts";
import { ConfigError } from "../errors.ts";
import { type Tensor, stopGradient } from "../tensor.ts";
import { cast } from "./cast.ts";
import { requireOneOf, requireSameDType } from "./checks.ts";
import {
  type ProductFormat,
  checkQuantized,
  dequantize,
  productFormats,
  roundsActivations,
  storedFormat,
  valueShape,
} from "./quantized.ts";
import { roundBlocks } from "./round-blocks.ts";

/**
 * Checks how a weight of a product with `x` is held: in the dtype of `x`, in half floats, or in codes
 * and scales of a format. @throws DTypeError, ShapeError, ConfigError
 */
export function checkHeld(
  op: string,
  x: TensorSpec,
  weight: TensorSpec,
  scales: TensorSpec | undefined,
  format: ProductFormat | undefined,
): void {
  if (format && scales) {
    requireOneOf(op, "format", format, productFormats);
    const stored = storedFormat(format);
    checkQuantized(op, weight, scales, { format: stored, dtype: x.dtype as FloatDType });
  } else if (format || scales) {
    throw new ConfigError(`${op}: a format and scales need each other`, "format", format, { op });
  } else if (!isHalf(weight)) {
    requireSameDType(op, x, weight);
  }
}

/** Name of the format in which a weight is held, where it is not the dtype of activations. */
export function heldFormat(
  weight: TensorSpec,
  format: ProductFormat | undefined,
): string | undefined {
  return format ?? (isHalf(weight) ? weight.dtype : undefined);
}

/** Shape of the numbers of a weight. */
export function heldShape(
  shape: readonly number[],
  format: ProductFormat | undefined,
): readonly number[] {
  return format ? valueShape(shape, storedFormat(format)) : shape;
}

/** A weight in the numbers that activations have. */
export function heldNumbers(
  weight: Tensor,
  scales: Tensor | undefined,
  format: ProductFormat | undefined,
  dtype: FloatDType,
): Tensor {
  if (!format || !scales) return isHalf(weight) ? cast(weight, { dtype }) : weight;
  const shape = heldShape(weight.shape, format);
  return dequantize(weight, stopGradient(scales), { format: storedFormat(format), shape, dtype });
}

/** The rows that a product with such a weight reads: rounded where its format says so. */
export function heldRows(x: Tensor, format: ProductFormat | undefined): Tensor {
  return format && roundsActivations(format) ? roundBlocks(x) : x;
}

/** Whether weights are held in half floats. */
function isHalf({ dtype }: TensorSpec): boolean {
  return dtype === "f16" || dtype === "bf16";
}
