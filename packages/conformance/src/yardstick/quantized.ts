import { type DequantizeAttributes, UnsupportedError } from "@moiety/core";
import { castValue } from "./cast.ts";
import type { Kernel } from "./kernel.ts";
import { ROUNDING } from "./precision.ts";

/** The quantised formats that are read here. */
export const FORMATS: readonly DequantizeAttributes["format"][] = ["q8_row"];

/** (code − 128) · scale, one scale for each row. */
export const dequantize: Kernel = (call) => {
  const { format } = call.attributes<DequantizeAttributes>();
  if (!FORMATS.includes(format)) {
    throw new UnsupportedError(`the yardstick does not read the format ${format}`, format);
  }
  const [codes, scales] = [call.input(0), call.input(1)];
  const { shape, dtype } = call.spec(0);
  const y = call.result();
  for (let at = 0; at < codes.size; at++) {
    const row = Math.floor(at / (shape.at(-1) ?? 1));
    const steps = codes.value(at) - 128;
    const { precision } = call;
    const scale = castValue(scales.value(row), scales.bound(row), scales.dtype, dtype, precision);
    const value = steps * scale.value;
    const inherited = Math.abs(steps) * scale.bound + codes.bound(at) * Math.abs(scale.value);
    const isExact = inherited === 0 && precision.holds(dtype, value);
    const bound = precision.settle(
      dtype,
      value,
      inherited,
      isExact ? 0 : ROUNDING * Math.abs(value),
    );
    y.set(at, precision.kept(dtype, value), bound);
  }
  return [y];
};
