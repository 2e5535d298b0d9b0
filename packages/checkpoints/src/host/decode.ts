import {
  DTypeError,
  type DType,
  type HostArray,
  type HostArrays,
  NumericError,
  ShapeError,
  formatShape,
  hostArray,
  sizeOf,
} from "@moiety/core";
import { type SafetensorsDtype, safetensorsBytes } from "../safetensors/dtype.ts";
import type { TensorView } from "../safetensors/info.ts";
import { bytesOf, swapOnBigEndian } from "./byte-order.ts";
import { integerReader, rangeOf } from "./integers.ts";
import type { HostTensor } from "./tensor.ts";
import { type NarrowFloat, isNarrowFloat, widen } from "./widen.ts";

/**
 * Turns a tensor's bytes into values of a dtype. Floats become `f32` or `f64` (exactly, but for F64
 * to `f32`, which rounds to nearest), integers and BOOL `i32` or `u32` (checked to fit); F16, BF16,
 * U8 and BOOL also stay what they are (`f16`, `bf16`, `u8`, `bool`).
 *
 * Throws `DTypeError` for another pair or an integer that does not fit, `NumericError` for an F64
 * that is finite but beyond f32, `ShapeError` for bytes that do not fit the shape.
 */
export function toHost<D extends DType>(view: TensorView, dtype: D): HostTensor<D> {
  const { name, shape, bytes } = view;
  const needed = sizeOf(shape) * safetensorsBytes(view.dtype);
  if (bytes.length !== needed) {
    throw new ShapeError(
      `tensor "${name}": ${view.dtype} ${formatShape(shape)} takes ${needed} bytes, ` +
        `but there are ${bytes.length}`,
      { shapes: [shape] },
    );
  }
  requireDecodable(name, view.dtype, dtype);
  const data: HostArrays[D] = hostArray(dtype, sizeOf(shape));
  decode(view, dtype, data, 0);
  return { dtype, shape, data };
}

/** Whether a file dtype's bytes are those of a host dtype, so that they need only be copied. */
export function isSameRepresentation(stored: SafetensorsDtype, dtype: DType): boolean {
  return dtype !== "bool" && stored === dtype.toUpperCase();
}

/** Throws `DTypeError` where values of `stored` are not read as `dtype`. */
export function requireDecodable(name: string, stored: SafetensorsDtype, dtype: DType): void {
  const isFloat = stored.startsWith("F") || stored === "BF16";
  const others: DType[] = isFloat ? ["f32", "f64"] : ["i32", "u32"];
  if (stored === "BOOL") others.push("bool");
  if (others.includes(dtype) || isSameRepresentation(stored, dtype)) return;
  throw new DTypeError(
    `tensor "${name}" is ${stored} in the file, which is not read as ${dtype}; ` +
      `read it as ${others.join(" or ")}`,
  );
}

/** Decodes a view's elements into `target` from `start` on. The pair of dtypes is checked before. */
export function decode(view: TensorView, dtype: DType, target: HostArray, start: number): void {
  const { bytes, dtype: stored } = view;
  const elementBytes = safetensorsBytes(stored);
  if (isSameRepresentation(stored, dtype)) {
    const place = bytesOf(target).subarray(start * elementBytes);
    place.set(bytes);
    swapOnBigEndian(place.subarray(0, bytes.length), elementBytes);
    return;
  }
  if (isNarrowFloat(stored) && target instanceof Float32Array) {
    const first = target.byteOffset + start * 4;
    widen(bytes, stored, new Uint32Array(target.buffer, first, bytes.length / elementBytes));
  } else if (isNarrowFloat(stored) && target instanceof Float64Array) {
    widenToF64(bytes, stored, target.subarray(start));
  } else if (stored === "F64" && target instanceof Float32Array) {
    roundToF32(view, target.subarray(start));
  } else {
    decodeIntegers(view, dtype, target, start);
  }
}

function widenToF64(bytes: Uint8Array, stored: NarrowFloat, target: Float64Array): void {
  const elementBytes = safetensorsBytes(stored);
  const count = bytes.length / elementBytes;
  const bits = new Uint32Array(Math.min(count, 4096));
  const values = new Float32Array(bits.buffer);
  for (let done = 0; done < count; done += values.length) {
    const length = Math.min(values.length, count - done);
    widen(bytes.subarray(done * elementBytes, (done + length) * elementBytes), stored, bits);
    for (let index = 0; index < length; index++) target[done + index] = values[index] ?? 0;
  }
}

function roundToF32({ name, bytes }: TensorView, target: Float32Array): void {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let index = 0; index * 8 < bytes.length; index++) {
    const value = data.getFloat64(index * 8, true);
    target[index] = value;
    if (Number.isFinite(value) && !Number.isFinite(target[index])) {
      throw new NumericError(
        `tensor "${name}" holds ${value}, which is beyond f32; read it as f64`,
      );
    }
  }
}

function decodeIntegers(view: TensorView, dtype: DType, target: HostArray, start: number): void {
  const { bytes } = view;
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const elementBytes = safetensorsBytes(view.dtype);
  const read = integerReader(view.dtype);
  // Whatever it becomes, a BOOL is 0 or 1.
  const [least, most] = rangeOf(view.dtype === "BOOL" ? "BOOL" : dtype);
  for (let at = 0, index = start; at < data.byteLength; at += elementBytes, index++) {
    const value = read(data, at);
    if (value < least || value > most) {
      throw new DTypeError(
        `tensor "${view.name}" (${view.dtype}) holds ${value}, which does not fit ${dtype} ` +
          `(${least} to ${most})`,
      );
    }
    target[index] = value;
  }
}
