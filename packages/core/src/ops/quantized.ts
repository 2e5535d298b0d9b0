import type { TensorSpec } from "../contract.ts";
import type { DType, FloatDType } from "../dtype.ts";
import { type Op, defineOp } from "../op.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import {
  FLOATS,
  requireDType,
  requireOneOf,
  requireRank,
  requireShape,
  shapeError,
} from "./checks.ts";

/** Formats of quantised weights: what each holds is said at {@link dequantize}. */
export type QuantizedFormat = "q8_row" | "q8_block32" | "q4_block32" | "mxfp4";

/**
 * Formats of the weights of products: those of {@link QuantizedFormat}, and two that are stored like the
 * one in their name while their products read rounded activations too (see {@link roundBlocks}).
 */
export type ProductFormat = QuantizedFormat | "q8_block32_a8" | "q4_block32_a8";

/** How the bytes of a format lie. */
export interface QuantizedLayout {
  /** Values in one byte of codes; the first stands in the low bits. */
  readonly codesPerByte: 1 | 2;
  /** Neighbours along the last axis that share a scale; all of a row where it is absent. */
  readonly block?: number | undefined;
  /** What scales may be held in. */
  readonly scales: readonly DType[];
  /** The code of 0, where codes are whole numbers of steps. */
  readonly zeroPoint?: number | undefined;
}

/** Every format's layout. */
export const quantizedFormats: Readonly<Record<QuantizedFormat, QuantizedLayout>> = {
  q8_row: { codesPerByte: 1, scales: FLOATS, zeroPoint: 128 },
  q8_block32: { codesPerByte: 1, block: 32, scales: FLOATS, zeroPoint: 128 },
  q4_block32: { codesPerByte: 2, block: 32, scales: FLOATS, zeroPoint: 8 },
  mxfp4: { codesPerByte: 2, block: 32, scales: ["u8"] },
};

/** What {@link ProductFormat}s that round activations are stored like; others are stored as they are called. */
const ROUNDING: Readonly<Partial<Record<ProductFormat, QuantizedFormat>>> = {
  q8_block32_a8: "q8_block32",
  q4_block32_a8: "q4_block32",
};

/** Every {@link ProductFormat}. */
export const productFormats: readonly ProductFormat[] = /*#__PURE__*/ [
  quantizedFormats,
  ROUNDING,
].flatMap((held) => Object.keys(held) as ProductFormat[]);

/** How the weights of a product are stored. */
export function storedFormat(format: ProductFormat): QuantizedFormat {
  return ROUNDING[format] ?? (format as QuantizedFormat);
}

/** Whether products with such weights read rounded activations. */
export function roundsActivations(format: ProductFormat): boolean {
  return ROUNDING[format] !== undefined;
}

/** Attributes of {@link dequantize}. */
export interface DequantizeAttributes {
  readonly format: QuantizedFormat;
  /** Shape of the values. */
  readonly shape: Shape;
  readonly dtype: FloatDType;
}

/**
 * Values `[…, K]` of quantised weights, computed in and rounded to `dtype`; by format:
 *
 * | format | codes, u8 | scales | value |
 * | --- | --- | --- | --- |
 * | `q8_row` | `[…, K]` | `[…]` float | `(code − 128) · scale` |
 * | `q8_block32` | `[…, K]` | `[…, K/32]` float | `(code − 128) · scale` |
 * | `q4_block32` | `[…, K/2]` | `[…, K/32]` float | `(code − 8) · scale` |
 * | `mxfp4` | `[…, K/2]` | `[…, K/32]` u8 | `e2m1(code) · 2^(scale − 127)` |
 *
 * Where two codes share a byte, the value of even place stands in the low 4 bits. Places 32b … 32b + 31
 * of a row have scale b, and K is a multiple of 32. A float scale is first rounded to `dtype`; each value
 * is then one product, rounded once. `e2m1` of the codes 0 … 7 is 0, 0.5, 1, 1.5, 2, 3, 4, 6, and
 * its negative for 8 … 15 (8 is −0); the scale 255 is NaN.
 *
 * The zero points and the order of two codes in a byte are those of ONNX Runtime's `QMoE` where it is
 * given no zero points; `mxfp4` is that of the Open Compute Project's Microscaling Formats 1.0, as
 * gpt-oss's files hold it (`_blocks` with their last two axes joined, `_scales`). Quantised weights
 * have no gradient.
 */
export const dequantize: Op<[codes: Tensor, scales: Tensor], DequantizeAttributes> =
  /*#__PURE__*/ defineOp({
    name: "dequantize",
    inputs: ["codes", "scales"],
    kernel: "inference",
    infer([codes, scales], attributes) {
      return checkQuantized("dequantize", codes, scales, attributes);
    },
  });

/** Shape of the values behind codes. */
export function valueShape(codes: Shape, format: QuantizedFormat): Shape {
  const { codesPerByte } = quantizedFormats[format];
  return codes.map((size, axis) => (axis === codes.length - 1 ? size * codesPerByte : size));
}

/** Checks codes and scales against their format, and the values' shape where it is given; gives their spec. */
export function checkQuantized(
  op: string,
  codes: TensorSpec,
  scales: TensorSpec,
  attributes: Omit<DequantizeAttributes, "shape"> & { readonly shape?: Shape },
): TensorSpec {
  const { format, dtype } = attributes;
  requireOneOf(op, "format", format, Object.keys(quantizedFormats));
  const { shape = valueShape(codes.shape, format) } = attributes;
  const { codesPerByte, block, scales: allowed } = quantizedFormats[format];
  requireDType(op, "codes", codes.dtype, ["u8"]);
  requireDType(op, "scales", scales.dtype, allowed);
  requireDType(op, "dtype", dtype, FLOATS);
  requireRank(op, "codes", codes, 1);
  const specs = [codes, scales];
  const rows = shape.slice(0, -1);
  const width = shape.at(-1) ?? 0;
  if (block && width % block) throw shapeError(op, `rows of ${format} end within a block`, specs);
  requireShape(op, "codes", codes, [...rows, width / codesPerByte], specs);
  requireShape(op, "scales", scales, block ? [...rows, width / block] : rows, specs);
  return { shape, dtype };
}
