import {
  type ProductFormat,
  type QuantizedFormat,
  DTypeError,
  quantizedFormats,
  storedFormat,
} from "@moiety/core";
import type { Input } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import type { StoredFloat } from "./factor.ts";

/** How the weights of a product are held: as floats, or as codes of a format. */
export type Held = StoredFloat | QuantizedFormat;

/** Weights of a product. */
export interface HeldWeights {
  readonly handle: GpuHandle;
  readonly held: Held;
  /** Scales of codes. */
  readonly scales?: GpuHandle | undefined;
  /** Whether the device reads f16 by itself. */
  readonly native?: boolean | undefined;
}

const FLOATS: readonly StoredFloat[] = ["f32", "f16", "bf16"];
/** Bits of a float of each kind. */
const FLOAT_BITS: Readonly<Record<StoredFloat, number>> = { f32: 32, f16: 16, bf16: 16 };
const BITS_OF_BYTE = 8;

/** The weights that inputs of an op hold. @throws DTypeError for dtypes that no product reads */
export function heldWeights(
  op: string,
  { handle, dtype }: Input,
  scales: Input | undefined,
  format: ProductFormat | undefined,
  native: boolean,
): HeldWeights {
  if (format) return { handle, held: storedFormat(format), scales: scales?.handle };
  const held = FLOATS.find((known) => known === dtype);
  if (held) return { handle, held, native };
  throw new DTypeError(`${op} takes no weights in ${dtype}`, { op });
}

/** Whether weights are codes. */
export function isCodes(held: Held): held is QuantizedFormat {
  return held in quantizedFormats;
}

/** Bytes of a number, of codes perhaps half a one. */
export function numberBytes(held: Held): number {
  if (!isCodes(held)) return FLOAT_BITS[held] / BITS_OF_BYTE;
  return 1 / quantizedFormats[held].codesPerByte;
}

/** Bytes of a scale. */
export function scaleBytes(format: QuantizedFormat): number {
  return quantizedFormats[format].scales.includes("u8") ? 1 : 4;
}

/** Scales of a line that is so many numbers wide. */
export function lineScales(format: QuantizedFormat, width: number): number {
  const { block } = quantizedFormats[format];
  return block === undefined ? 1 : width / block;
}
