import {
  type Backend,
  type QuantizedFormat,
  type Shape,
  type Tensor,
  hostBits,
  hostNormal,
  quantizedFormats,
  randomKey,
  sizeOf,
} from "@moiety/core";

/** Codes and scales of a tensor. */
export interface Coded {
  readonly codes: Tensor;
  readonly scales: Tensor;
}

/** Random codes of values of a shape, with scales that make them about as large as normal numbers. */
export function randomCodes(
  backend: Backend,
  seed: number,
  format: QuantizedFormat,
  shape: Shape,
): Coded {
  const { codesPerByte, block, zeroPoint } = quantizedFormats[format];
  const [rows, width] = [shape.slice(0, -1), shape.at(-1) ?? 0];
  const bytes = hostBits(randomKey(seed), sizeOf(shape) / codesPerByte);
  const scalesShape = block === undefined ? rows : [...rows, width / block];
  const count = sizeOf(scalesShape);
  const scales =
    zeroPoint === undefined
      ? Uint8Array.from(hostBits(randomKey(seed + 1000), count), (word) => 122 + (word & 3))
      : Float32Array.from(hostNormal(randomKey(seed + 1000), count), (value) => value / zeroPoint);
  return {
    codes: backend.tensor(
      Uint8Array.from(bytes, (word) => word & 0xff),
      {
        shape: [...rows, width / codesPerByte],
      },
    ),
    scales: backend.tensor(scales, { shape: scalesShape }),
  };
}
