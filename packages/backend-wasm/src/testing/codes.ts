import {
  type Backend,
  type QuantizedFormat,
  type Tensor,
  hostBits,
  quantizedFormats,
  randomKey,
  sizeOf,
} from "@moiety/core";
import { randomTensor } from "./oracle.ts";

/** Bytes at random, with the bits of `mask`. */
export function randomBytes(
  backend: Backend,
  seed: number,
  shape: readonly number[],
  mask = 255,
): Tensor {
  const words = hostBits(randomKey(seed), sizeOf(shape));
  return backend.tensor(
    Uint8Array.from(words, (word) => word & mask),
    { shape },
  );
}

/** Codes and scales of values of this shape, at random. */
export function randomCodes(
  backend: Backend,
  seed: number,
  format: QuantizedFormat,
  values: readonly number[],
): readonly [codes: Tensor, scales: Tensor] {
  const { codesPerByte, block } = quantizedFormats[format];
  const [rows, width] = [values.slice(0, -1), values.at(-1) ?? 0];
  const shape = block === undefined ? rows : [...rows, width / block];
  return [
    randomBytes(backend, seed, [...rows, width / codesPerByte]),
    format === "mxfp4"
      ? randomBytes(backend, seed + 1, shape, 127)
      : randomTensor(backend, seed + 1, shape),
  ];
}
