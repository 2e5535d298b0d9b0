import {
  DTypeError,
  type DType,
  type HostArray,
  NumericError,
  ShapeError,
  formatShape,
  sizeOf,
} from "@moiety/core";
import { type SafetensorsDtype, safetensorsBytes } from "../safetensors/dtype.ts";
import type { TensorEntry } from "../safetensors/write.ts";
import { bytesOf, isLittleEndian, reverseElements } from "./byte-order.ts";
import { isSameRepresentation } from "./decode.ts";
import { BRAIN, E4M3, E5M2, HALF, type ShortFloat, shortFloatEncoder } from "./float-bits.ts";
import { integerWriter, rangeOf } from "./integers.ts";
import type { HostTensor } from "./tensor.ts";

/** The file dtype that keeps a host dtype's values as they are. */
export function storedDtype(dtype: DType): SafetensorsDtype {
  return dtype.toUpperCase() as SafetensorsDtype;
}

/**
 * An entry that writes a host tensor under a name, as `dtype` (what keeps the values, unless given).
 * Nothing is copied where bytes stay the same, so the values must not change until they are written.
 * `f32` and `f64` are written as F32, F64, F16, BF16, F8_E4M3 or F8_E5M2 (rounded to nearest, ties to
 * even), `i32`, `u32` and `u8` as any integer dtype that holds them, `bool` as BOOL, `f16` and `bf16` as
 * themselves.
 *
 * Throws `ShapeError` where values and shape differ in size and `DTypeError` for another pair; while
 * it is written, `DTypeError` for an integer that does not fit and `NumericError` for a float beyond the
 * largest (an infinity too, where the dtype has none).
 */
export function hostEntry(
  name: string,
  host: HostTensor,
  dtype: SafetensorsDtype = storedDtype(host.dtype),
): TensorEntry {
  const { shape, data } = host;
  if (data.length !== sizeOf(shape)) {
    throw new ShapeError(
      `tensor "${name}" of shape ${formatShape(shape)} needs ${sizeOf(shape)} values, ` +
        `but has ${data.length}`,
      { shapes: [shape] },
    );
  }
  requireEncodable(name, host.dtype, dtype);
  return { name, dtype, shape, bytes: () => encode(name, data, host.dtype, dtype) };
}

/** Throws `DTypeError` where values of a host dtype are not written as `stored`. */
export function requireEncodable(name: string, dtype: DType, stored: SafetensorsDtype): void {
  const allowed = encodableAs(dtype);
  if (allowed.includes(stored)) return;
  throw new DTypeError(
    `tensor "${name}" holds ${dtype}, which is not written as ${stored}; ` +
      `write it as ${allowed.join(", ")}`,
  );
}

function encodableAs(dtype: DType): SafetensorsDtype[] {
  if (dtype === "f32" || dtype === "f64")
    return ["F32", "F64", "F16", "BF16", "F8_E4M3", "F8_E5M2"];
  if (dtype === "i32" || dtype === "u32" || dtype === "u8") {
    return ["I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8"];
  }
  return [storedDtype(dtype)];
}

/** The bytes of values in a file. The pair of dtypes is checked before. */
export function encode(
  name: string,
  data: HostArray,
  dtype: DType,
  stored: SafetensorsDtype,
): Uint8Array {
  const elementBytes = safetensorsBytes(stored);
  if (isSameRepresentation(stored, dtype)) {
    if (isLittleEndian()) return bytesOf(data);
    const swapped = bytesOf(data).slice();
    reverseElements(swapped, elementBytes);
    return swapped;
  }
  const bytes = new Uint8Array(data.length * elementBytes);
  const write = elementWriter(name, dtype, stored, new DataView(bytes.buffer));
  for (let index = 0; index < data.length; index++) write(index * elementBytes, data[index] ?? 0);
  return bytes;
}

type ElementWriter = (at: number, value: number) => void;

function elementWriter(
  name: string,
  dtype: DType,
  stored: SafetensorsDtype,
  target: DataView,
): ElementWriter {
  if (dtype === "f32" || dtype === "f64") return floatWriter(name, stored, target);
  const [least, most] = rangeOf(stored);
  const write = integerWriter(stored);
  return (at, value) => {
    if (value < least || value > most) {
      throw new DTypeError(
        `tensor "${name}" holds ${value}, which does not fit ${stored} (${least} to ${most})`,
      );
    }
    write(target, at, value);
  };
}

function floatWriter(name: string, stored: SafetensorsDtype, target: DataView): ElementWriter {
  const beyond = (value: number): NumericError =>
    new NumericError(
      `tensor "${name}" holds ${value}, which is beyond ${stored}; write it as F32 or F64`,
    );
  if (stored === "F64") return (at, value) => target.setFloat64(at, value, true);
  if (stored === "F32") {
    return (at, value) => {
      if (Number.isFinite(value) && !Number.isFinite(Math.fround(value))) throw beyond(value);
      target.setFloat32(at, value, true);
    };
  }
  return shortFloatWriter(SHORT[stored] ?? HALF, target, beyond);
}

const SHORT: Partial<Record<SafetensorsDtype, ShortFloat>> = {
  F16: HALF,
  BF16: BRAIN,
  F8_E4M3: E4M3,
  F8_E5M2: E5M2,
};

function shortFloatWriter(
  format: ShortFloat,
  target: DataView,
  beyond: (value: number) => NumericError,
): ElementWriter {
  const bitsOf = shortFloatEncoder(format);
  const hasInfinity = format.beyond !== format.nan;
  const checked = (value: number): number => {
    const bits = bitsOf(value);
    const isBeyond = (bits & ~format.sign) === format.beyond && !Number.isNaN(value);
    if (isBeyond && !(hasInfinity && !Number.isFinite(value))) throw beyond(value);
    return bits;
  };
  return format.sign === 0x80
    ? (at, value) => target.setUint8(at, checked(value))
    : (at, value) => target.setUint16(at, checked(value), true);
}
