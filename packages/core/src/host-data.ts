import type { TensorData, TensorSpec } from "./contract.ts";
import { type DType, type HostArray, hostArray } from "./dtype.ts";
import { DTypeError, ShapeError } from "./errors.ts";
import { type Shape, formatShape, sizeOf } from "./shape.ts";

/** Host data in the form in which it is uploaded. */
export interface HostData extends TensorSpec {
  readonly bytes: Uint8Array;
}

/** Converts what users pass to bytes of a dtype. @throws ShapeError, DTypeError */
export function toHostData(
  data: TensorData,
  spec: { readonly shape?: Shape | undefined; readonly dtype?: DType | undefined },
): HostData {
  const flat: HostArray | readonly (number | boolean)[] = typeof data === "object" ? data : [data];
  const shape = spec.shape ?? (typeof data === "object" ? [flat.length] : []);
  if (sizeOf(shape) !== flat.length) {
    throw new ShapeError(`${flat.length} values do not fill shape ${formatShape(shape)}`);
  }
  const natural = naturalDType(flat);
  const dtype = spec.dtype ?? natural;
  if (dtype === undefined) {
    throw new DTypeError("16-bit data needs a dtype: f16 or bf16 (bit patterns)");
  }
  return { shape, dtype, bytes: bytesOf(flat, dtype) };
}

/** The dtype that an array's class stands for; `undefined` for 16-bit patterns. */
function naturalDType(data: HostArray | readonly (number | boolean)[]): DType | undefined {
  if (data instanceof Float32Array) return "f32";
  if (data instanceof Float64Array) return "f64";
  if (data instanceof Int32Array) return "i32";
  if (data instanceof Uint32Array) return "u32";
  if (data instanceof Uint8Array) return "u8";
  if (data instanceof Uint16Array) return undefined;
  return typeof data[0] === "boolean" ? "bool" : "f32";
}

function bytesOf(data: HostArray | readonly (number | boolean)[], dtype: DType): Uint8Array {
  const target = hostArray(dtype, 0);
  if (ArrayBuffer.isView(data) && data.constructor === target.constructor) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  if (dtype === "f16" || dtype === "bf16") {
    throw new DTypeError(
      `${dtype} data must be a Uint16Array of bit patterns; upload f32 and cast`,
    );
  }
  const converted = hostArray(dtype, data.length);
  for (let index = 0; index < data.length; index++) {
    const value = data[index] as number | boolean;
    if (dtype === "bool") converted[index] = value ? 1 : 0;
    else converted[index] = checkedInteger(Number(value), dtype);
  }
  return new Uint8Array(converted.buffer);
}

function checkedInteger(value: number, dtype: DType): number {
  if (dtype === "f32" || dtype === "f64") return value;
  const [low, high] =
    dtype === "i32" ? [-(2 ** 31), 2 ** 31 - 1] : [0, dtype === "u8" ? 255 : 2 ** 32 - 1];
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw new DTypeError(`${value} is no ${dtype}; values are whole numbers from ${low} to ${high}`);
}
