import { halfBits } from "../layer.ts";
import { type GgufType, ggufTypes } from "./gguf.ts";

/** The largest code of each format of blocks, with the same reach below zero. */
const LARGEST = { Q8_0: 127, Q4_0: 7 } as const;
/** The half float at the beginning of a block. */
const SCALE_BYTES = 2;
/** What a code of 4 bits is above its whole number. */
const ZERO_POINT = 8;

/**
 * Values in a type of GGUF files. A block of 32 has a scale, a half float, and whole numbers of it:
 * `Q8_0` bytes with a sign; `Q4_0` halves of bytes, 8 above the number, the first 16 values in the low
 * halves and the others in the high ones. The scale is such that the largest number is 127 or 7 of it:
 * llama.cpp's own tool takes −8 of it for `Q4_0`, and its readers do not care.
 *
 * @throws Error where a scale or a half float would have to be rounded
 */
export function encoded(values: Float32Array, type: GgufType): Uint8Array {
  if (type === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  if (type === "F16") return new Uint8Array(halfBits(values).buffer);
  const { values: width, bytes } = ggufTypes[type];
  const blocks = values.length / width;
  const result = new Uint8Array(blocks * bytes);
  const scales = new Float32Array(blocks);
  const put = type === "Q8_0" ? putBytes : putHalves;
  for (let block = 0; block < blocks; block++) {
    const from = block * width;
    const scale = largestOf(values, from, width) / LARGEST[type];
    scales[block] = scale;
    put(result, block * bytes + SCALE_BYTES, values, from, scale === 0 ? 0 : 1 / scale);
  }
  const halves = halfBits(scales);
  for (let block = 0; block < blocks; block++) {
    const half = halves[block] ?? 0;
    result[block * bytes] = half & 0xff;
    result[block * bytes + 1] = half >> 8;
  }
  return result;
}

type Put = (
  target: Uint8Array,
  at: number,
  values: Float32Array,
  from: number,
  perValue: number,
) => void;

const putBytes: Put = (target, at, values, from, perValue) => {
  const { values: width } = ggufTypes.Q8_0;
  for (let place = 0; place < width; place++) {
    target[at + place] = Math.round((values[from + place] ?? 0) * perValue);
  }
};

const putHalves: Put = (target, at, values, from, perValue) => {
  const half = ggufTypes.Q4_0.values / 2;
  for (let place = 0; place < half; place++) {
    const low = Math.round((values[from + place] ?? 0) * perValue) + ZERO_POINT;
    const high = Math.round((values[from + place + half] ?? 0) * perValue) + ZERO_POINT;
    target[at + place] = low | (high << 4);
  }
};

function largestOf(values: Float32Array, from: number, count: number): number {
  let largest = 0;
  for (let at = from; at < from + count; at++) {
    largest = Math.max(largest, Math.abs(values[at] ?? 0));
  }
  return largest;
}
