import type { FloatDType } from "../dtype.ts";
import { type Op, defineOp } from "../op.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { FLOATS, requireDType, requireOneOf, requireRank, requireShape } from "./checks.ts";

/** Formats of quantised weights. `q8_row`: one byte a value, one scale a row. */
export type QuantizedFormat = "q8_row";

/** Attributes of {@link dequantize}. */
export interface DequantizeAttributes {
  readonly format: QuantizedFormat;
  /** Shape of the values. */
  readonly shape: Shape;
  readonly dtype: FloatDType;
}

/**
 * Values of quantised weights. Format `q8_row`: `codes […, K]` u8, `scales […]` float, one for each
 * row → `(code − 128) · scale`, computed in and rounded to `dtype`. Quantised weights have no
 * gradient.
 */
export const dequantize: Op<[codes: Tensor, scales: Tensor], DequantizeAttributes> =
  /*#__PURE__*/ defineOp({
    name: "dequantize",
    inputs: ["codes", "scales"],
    kernel: "inference",
    infer([codes, scales], { format, shape, dtype }) {
      const op = "dequantize";
      requireOneOf(op, "format", format, ["q8_row"]);
      requireDType(op, "codes", codes.dtype, ["u8"]);
      requireDType(op, "scales", scales.dtype, FLOATS);
      requireDType(op, "dtype", dtype, FLOATS);
      requireRank(op, "codes", codes, 1);
      requireShape(op, "codes", codes, shape, [codes, scales]);
      requireShape(op, "scales", scales, shape.slice(0, -1), [codes, scales]);
      return { shape, dtype };
    },
  });
