/**
 * Element types. Kernels compute in `f32`, `f64`, `i32`, `u32` and `bool`; `f16`, `bf16` and `u8`
 * are storage, reached through `cast` and `dequantize`. A `bool` is stored as one u32 word (0 or 1),
 * because WGSL cannot address bytes.
 */
export type DType = "f32" | "f64" | "i32" | "u32" | "bool" | "f16" | "bf16" | "u8";

/** The dtypes that arithmetic is defined on. */
export type FloatDType = "f32" | "f64";

/** The host array of a dtype: f16 and bf16 are their bit patterns, bool is 0 or 1 in 32 bits. */
export interface HostArrays {
  f32: Float32Array;
  f64: Float64Array;
  i32: Int32Array;
  u32: Uint32Array;
  bool: Uint32Array;
  f16: Uint16Array;
  bf16: Uint16Array;
  u8: Uint8Array;
}

/** Any host array that a tensor can be read into. */
export type HostArray = HostArrays[DType];

const BYTES: Readonly<Record<DType, number>> = {
  f32: 4,
  f64: 8,
  i32: 4,
  u32: 4,
  bool: 4,
  f16: 2,
  bf16: 2,
  u8: 1,
};

/** Bytes that one element takes. */
export function bytesPerElement(dtype: DType): number {
  return BYTES[dtype];
}

/** Whether gradients can flow through values of this dtype. */
export function isFloat(dtype: DType): dtype is FloatDType {
  return dtype === "f32" || dtype === "f64";
}

/** Whether values of this dtype are integers that kernels compute with. */
export function isInteger(dtype: DType): dtype is "i32" | "u32" {
  return dtype === "i32" || dtype === "u32";
}

/** Makes a zeroed host array of `length` elements, or a view of `buffer` (byte offset a multiple of the element size). */
export function hostArray<D extends DType>(
  dtype: D,
  source: number | ArrayBufferLike,
  byteOffset = 0,
  length?: number,
): HostArrays[D] {
  const make = <A>(Kind: {
    new (length: number): A;
    new (buffer: ArrayBufferLike, byteOffset: number, length?: number): A;
  }): A => (typeof source === "number" ? new Kind(source) : new Kind(source, byteOffset, length));
  switch (dtype as DType) {
    case "f32":
      return make(Float32Array) as HostArrays[D];
    case "f64":
      return make(Float64Array) as HostArrays[D];
    case "i32":
      return make(Int32Array) as HostArrays[D];
    case "u32":
    case "bool":
      return make(Uint32Array) as HostArrays[D];
    case "f16":
    case "bf16":
      return make(Uint16Array) as HostArrays[D];
    case "u8":
      return make(Uint8Array) as HostArrays[D];
  }
}
