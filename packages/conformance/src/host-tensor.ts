import {
  type DType,
  type HostArray,
  type Shape,
  ShapeError,
  formatShape,
  hostArray,
  sizeOf,
} from "@moiety/core";

/** Values on the host with their shape and dtype: what a case's programs are fed and give back. */
export interface HostTensor {
  /** Row-major, in the dtype's array class (f16 and bf16 as bit patterns, bool as 0 or 1). */
  readonly data: HostArray;
  readonly shape: Shape;
  readonly dtype: DType;
}

/**
 * A host tensor of numbers; its shape is `[values.length]` unless given. Floats are rounded to the
 * dtype; f16 and bf16 take bit patterns.
 * @throws ShapeError where the values do not fill the shape
 */
export function hostTensor(
  values: ArrayLike<number>,
  dtype: DType = "f32",
  shape: Shape = [values.length],
): HostTensor {
  if (sizeOf(shape) !== values.length) {
    throw new ShapeError(`${values.length} values do not fill shape ${formatShape(shape)}`);
  }
  const data = hostArray(dtype, values.length);
  for (let index = 0; index < values.length; index++) data[index] = values[index] ?? 0;
  return { data, shape: [...shape], dtype };
}

/** A host tensor whose element i is `value(i)`. */
export function generated(
  shape: Shape,
  dtype: DType,
  value: (index: number) => number,
): HostTensor {
  const data = hostArray(dtype, sizeOf(shape));
  for (let index = 0; index < data.length; index++) data[index] = value(index);
  return { data, shape: [...shape], dtype };
}

/** The same values as float64 where they are float32; everything else as it is. */
export function widened(tensor: HostTensor): HostTensor {
  if (tensor.dtype !== "f32") return tensor;
  return { data: Float64Array.from(tensor.data), shape: tensor.shape, dtype: "f64" };
}

/** The bytes of a host tensor. */
export function bytesOf({ data }: Pick<HostTensor, "data">): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
