import {
  DTypeError,
  FormatError,
  type HostArray,
  NumericError,
  type Shape,
  formatShape,
} from "@moiety/core";
import type { TensorInfo, TensorReader } from "../safetensors/info.ts";
import { MXFP4_BLOCK } from "./held.ts";
import type { ElementReader } from "./stored.ts";

/** The values of F4 E2M1 by their codes (OCP Microscaling Formats 1.0, table 5). */
const E2M1: readonly number[] = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6];
/** E8M0: the scale 2^(code − 127); the last code is NaN. */
const E8M0_BIAS = 127;
const E8M0_NAN = 255;
/** From this scale on products may pass the largest f32. */
const LARGEST_SURE = 252;
const BLOCK_BYTES = MXFP4_BLOCK / 2;

/**
 * Reads MXFP4 tensors whose values have this shape, by ranges of whole blocks.
 *
 * Throws `FormatError` for a shape that is not made of whole blocks and, while it reads, for a scale
 * that is NaN; `DTypeError` for tensors that are not U8; `NumericError` for values beyond f32.
 */
export function mxfp4Reader(
  reader: TensorReader,
  codes: TensorInfo,
  scales: TensorInfo,
  shape: Shape,
): { readonly read: ElementReader; readonly unit: number } {
  for (const { name, dtype } of [codes, scales]) {
    if (dtype === "U8") continue;
    throw new DTypeError(
      `tensor "${name}" is ${dtype} in the file; MXFP4 has codes and scales in U8`,
    );
  }
  if ((shape.at(-1) ?? 0) % MXFP4_BLOCK !== 0) {
    throw new FormatError(
      `tensor "${codes.name}" stands for rows of ${shape.at(-1)} values (${formatShape(shape)}), ` +
        `which are no whole blocks of ${MXFP4_BLOCK}`,
      codes.offset,
    );
  }
  let buffer = new Uint8Array();
  const read: ElementReader = async (from, count, target, at) => {
    const blocks = count / MXFP4_BLOCK;
    const first = from / MXFP4_BLOCK;
    const needed = blocks * (BLOCK_BYTES + 1);
    if (buffer.length < needed) buffer = new Uint8Array(needed);
    const packed = buffer.subarray(0, blocks * BLOCK_BYTES);
    const exponents = buffer.subarray(blocks * BLOCK_BYTES, needed);
    await reader.readInto(codes.name, first * BLOCK_BYTES, packed);
    await reader.readInto(scales.name, first, exponents);
    for (let block = 0; block < blocks; block++) {
      const exponent = exponents[block] ?? 0;
      if (exponent === E8M0_NAN) throw notANumber(scales, first + block);
      const begin = at + block * MXFP4_BLOCK;
      unpack(packed, block * BLOCK_BYTES, 2 ** (exponent - E8M0_BIAS), target, begin);
      if (exponent > LARGEST_SURE) requireFinite(target, begin, codes);
    }
  };
  return { read, unit: MXFP4_BLOCK };
}

function unpack(
  packed: Uint8Array,
  start: number,
  scale: number,
  target: HostArray,
  at: number,
): void {
  for (let byte = 0; byte < BLOCK_BYTES; byte++) {
    const pair = packed[start + byte] ?? 0;
    target[at + 2 * byte] = (E2M1[pair & 0xf] ?? 0) * scale;
    target[at + 2 * byte + 1] = (E2M1[pair >> 4] ?? 0) * scale;
  }
}

function requireFinite(target: HostArray, begin: number, { name }: TensorInfo): void {
  if (target.subarray(begin, begin + MXFP4_BLOCK).every(Number.isFinite)) return;
  throw new NumericError(`tensor "${name}" holds values beyond f32; read it as f64`);
}

function notANumber({ name, offset }: TensorInfo, block: number): FormatError {
  return new FormatError(
    `tensor "${name}": the scale of block ${block} is NaN; the file is damaged, get it again`,
    offset + block,
  );
}
