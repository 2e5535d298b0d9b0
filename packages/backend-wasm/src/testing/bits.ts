import {
  type Backend,
  type DType,
  type Shape,
  type Tensor,
  hostBits,
  randomKey,
  sizeOf,
} from "@moiety/core";

/** Every dtype that this backend has. */
export const DTYPES: readonly Exclude<DType, "f64">[] = [
  "f32",
  "i32",
  "u32",
  "bool",
  "f16",
  "bf16",
  "u8",
];

/** Random bits as any dtype, NaN and all; the same for the same seed on every backend. */
export function bitsTensor(backend: Backend, seed: number, shape: Shape, dtype: DType): Tensor {
  const bits = hostBits(randomKey(seed), sizeOf(shape));
  switch (dtype) {
    case "u8":
      return backend.tensor(Uint8Array.from(bits), { shape });
    case "f16":
    case "bf16":
      return backend.tensor(Uint16Array.from(bits), { shape, dtype });
    case "bool":
      return backend.tensor(
        bits.map((word) => word & 1),
        { shape, dtype },
      );
    case "i32":
      return backend.tensor(new Int32Array(bits.buffer), { shape });
    case "u32":
      return backend.tensor(bits, { shape });
    default:
      // Not every pattern, since those of NaN may change on the way.
      return backend.tensor(
        Float32Array.from(bits, (word) => (word - 2 ** 31) / 7),
        { shape },
      );
  }
}
