import { type QuantizedFormat, UnsupportedError, quantizedFormats } from "@moiety/core";
import type { DequantizeAttributes } from "@moiety/core";
import type { Kernel } from "./kernel.ts";

/** The quantised formats that are read here. */
export const FORMATS: readonly QuantizedFormat[] = ["q8_row", "q8_block32", "q4_block32", "mxfp4"];

/** The values of 4 bits with two for the exponent and one for the fraction. */
const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6] as const;

/** Values of quantised weights: a code's number times the scale of its row or block. */
export const dequantize: Kernel = (call) => {
  const { format } = call.attributes<DequantizeAttributes>();
  if (!FORMATS.includes(format)) {
    throw new UnsupportedError(`the cpu backend does not read the format ${format}`, format);
  }
  const { codesPerByte, block, zeroPoint } = quantizedFormats[format];
  const { array: codes } = call.input(0);
  const { array: scales } = call.input(1);
  const { dtype, shape } = call.spec(0);
  const sharing = block ?? shape.at(-1) ?? 1;
  const buffer = call.make(0);
  const out = call.view(0, buffer);
  for (let index = 0; index < out.length; index++) {
    const code =
      codesPerByte === 1 ? codes[index]! : (codes[index >> 1]! >> (4 * (index & 1))) & 15;
    const scale = scales[Math.floor(index / sharing)]!;
    out[index] =
      zeroPoint === undefined
        ? E2M1[code]! * powerOf(scale)
        : (code - zeroPoint) * (dtype === "f32" ? Math.fround(scale) : scale);
  }
  return [buffer];
};

/** 2^(exponent − 127); 255 is NaN. */
function powerOf(exponent: number): number {
  return exponent === 255 ? Number.NaN : 2 ** (exponent - 127);
}
