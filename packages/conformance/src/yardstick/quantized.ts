import {
  type DequantizeAttributes,
  type QuantizedFormat,
  UnsupportedError,
  quantizedFormats,
} from "@moiety/core";
import { castValue } from "./cast.ts";
import type { Kernel, KernelCall } from "./kernel.ts";
import { ROUNDING } from "./precision.ts";

/** The quantised formats that are read here. */
export const FORMATS: readonly QuantizedFormat[] = ["q8_row", "q8_block32", "q4_block32", "mxfp4"];

/** What a code stands for, without its scale, and how far an honest backend's may be from it. */
interface Steps {
  readonly value: number;
  readonly bound: number;
}

/** A code's number times the scale of its row or block. */
export const dequantize: Kernel = (call) => {
  const { format } = call.attributes<DequantizeAttributes>();
  if (!FORMATS.includes(format)) {
    throw new UnsupportedError(`the yardstick does not read the format ${format}`, format);
  }
  const { shape, dtype } = call.spec(0);
  const { precision } = call;
  const sharing = quantizedFormats[format].block ?? shape.at(-1) ?? 1;
  const y = call.result();
  for (let at = 0; at < y.values.length; at++) {
    const steps = stepsAt(call, format, at);
    const scale = scaleAt(call, format, Math.floor(at / sharing));
    const value = steps.value * scale.value;
    const inherited =
      Math.abs(steps.value) * scale.bound + steps.bound * (Math.abs(scale.value) + scale.bound);
    const isExact = inherited === 0 && precision.holds(dtype, value);
    const own = isExact ? 0 : ROUNDING * Math.abs(value);
    y.set(at, precision.kept(dtype, value), precision.settle(dtype, value, inherited, own));
  }
  return [y];
};

/** The codes of a place; where a byte may be another one, so may they. */
function stepsAt(call: KernelCall, format: QuantizedFormat, at: number): Steps {
  const { codesPerByte, zeroPoint } = quantizedFormats[format];
  const codes = call.input(0);
  const place = Math.floor(at / codesPerByte);
  const byte = codes.value(place);
  const bound = codes.bound(place);
  const code = codesPerByte === 1 ? byte : Math.floor(byte / 16 ** (at % 2)) % 16;
  if (zeroPoint !== undefined) {
    return { value: code - zeroPoint, bound: codesPerByte === 1 ? bound : any(bound, 15) };
  }
  return { value: miniFloat(code), bound: any(bound, 12) };
}

/** A part of a byte that may be another one may be anything. */
function any(bound: number, range: number): number {
  return bound === 0 ? 0 : range;
}

/** The number of a 4-bit float: sign, two bits of exponent with bias 1, one bit of fraction. */
function miniFloat(code: number): number {
  const sign = code >= 8 ? -1 : 1;
  const exponent = (code >> 1) & 3;
  const half = (code & 1) / 2;
  return sign * (exponent === 0 ? half : (1 + half) * 2 ** (exponent - 1));
}

function scaleAt(call: KernelCall, format: QuantizedFormat, at: number): Steps {
  const scales = call.input(1);
  const [held, bound] = [scales.value(at), scales.bound(at)];
  if (format !== "mxfp4") {
    return castValue(held, bound, scales.dtype, call.spec(0).dtype, call.precision);
  }
  const value = held === 255 ? Number.NaN : 2 ** (held - 127);
  return { value, bound: bound === 0 ? 0 : Number.POSITIVE_INFINITY };
}
