import { UnsupportedError } from "@moiety/core";
import type { DequantizeAttributes } from "@moiety/core";
import type { Kernel } from "./kernel.ts";

/** The quantised formats that are read here. */
export const FORMATS: readonly DequantizeAttributes["format"][] = ["q8_row"];

/** Values of quantised weights: `(code − 128) · scale`, with one scale for each row. */
export const dequantize: Kernel = (call) => {
  const { format } = call.attributes<DequantizeAttributes>();
  if (!FORMATS.includes(format)) {
    throw new UnsupportedError(`the cpu backend does not read the format ${format}`, format);
  }
  const { array: codes, shape } = call.input(0);
  const { array: scales } = call.input(1);
  const { dtype } = call.spec(0);
  const width = shape.at(-1) ?? 1;
  const buffer = call.make(0);
  const out = call.view(0, buffer);
  for (let index = 0; index < codes.length; index++) {
    const scale = scales[Math.floor(index / width)]!;
    out[index] = (codes[index]! - 128) * (dtype === "f32" ? Math.fround(scale) : scale);
  }
  return [buffer];
};
