import type { SafetensorsDtype } from "../safetensors/dtype.ts";
import { isLittleEndian, swapOnBigEndian } from "./byte-order.ts";
import { bf16ToF32Bits, e4m3ToF32Bits, e5m2ToF32Bits, f16ToF32Bits } from "./float-bits.ts";

/** The dtypes whose every value is an f32. */
export type NarrowFloat = "F32" | "F16" | "BF16" | "F8_E4M3" | "F8_E5M2";

/** Whether every value of a dtype is an f32. */
export function isNarrowFloat(dtype: SafetensorsDtype): dtype is NarrowFloat {
  return dtype === "F32" || dtype.endsWith("F16") || dtype.startsWith("F8");
}

/**
 * Writes elements as the bits of the f32 that equal them, from the start of `target`. Bits, because a
 * NaN that passes through a JavaScript number may lose its payload.
 */
export function widen(bytes: Uint8Array, dtype: NarrowFloat, target: Uint32Array): void {
  // One loop for each dtype: a shared one that calls a converter by reference is several times slower.
  if (dtype === "F32") {
    const place = new Uint8Array(target.buffer, target.byteOffset, bytes.length);
    place.set(bytes);
    swapOnBigEndian(place, 4);
  } else if (dtype === "BF16") {
    const source = halvesOf(bytes);
    for (let index = 0; index < source.length; index++) {
      target[index] = bf16ToF32Bits(source[index] ?? 0);
    }
  } else if (dtype === "F16") {
    const source = halvesOf(bytes);
    for (let index = 0; index < source.length; index++) {
      target[index] = f16ToF32Bits(source[index] ?? 0);
    }
  } else {
    const convert = dtype === "F8_E4M3" ? e4m3ToF32Bits : e5m2ToF32Bits;
    const table = Uint32Array.from({ length: 256 }, (_, byte) => convert(byte));
    for (let index = 0; index < bytes.length; index++) {
      target[index] = table[bytes[index] ?? 0] ?? 0;
    }
  }
}

/** Little-endian 16-bit words as an array; copied where the machine cannot view them in place. */
function halvesOf(bytes: Uint8Array): Uint16Array {
  if (bytes.byteOffset % 2 === 0 && isLittleEndian()) {
    return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  }
  const copy = bytes.slice();
  swapOnBigEndian(copy, 2);
  return new Uint16Array(copy.buffer);
}
