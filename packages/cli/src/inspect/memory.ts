import { type QuantizedFormat, quantizedFormats } from "@moiety/core";
import { type Weight, elements, sumOver } from "./weight.ts";

/**
 * How matrices may be held, by the names of the command line. Formats with `a8` are held like those
 * without.
 */
export const MATRIX_FORMATS = ["f32", "f16", "q8_row", "q8_32", "q4_32", "mxfp4"] as const;

/** One of them. */
export type MatrixFormat = (typeof MATRIX_FORMATS)[number];

/** What a model needs in memory in one pair of formats. */
export interface MemoryNeed {
  /** Format of the matrices of routed experts. */
  readonly experts: MatrixFormat;
  /** Format of the other matrices. Norms, biases and routers are float32. */
  readonly rest: MatrixFormat;
  /** Bytes of all weights; `null` where rows do not hold whole blocks of the formats. */
  readonly bytes: number | null;
  /** Bytes of weights that one token reads; `null` where that is not known. */
  readonly bytesPerToken: number | null;
}

const F32_BYTES = 4;
const F16_BYTES = 2;

/** Names of the contract of backends. */
const QUANTIZED: Readonly<Partial<Record<MatrixFormat, QuantizedFormat>>> = {
  q8_row: "q8_row",
  q8_32: "q8_block32",
  q4_32: "q4_block32",
  mxfp4: "mxfp4",
};

/**
 * What the weights need in every format of the experts, beside others in floats, in halves, in the same
 * format, and in twice the bits. Halves stand together: with experts in f16 all is.
 */
export function memoryNeeds(weights: readonly Weight[]): MemoryNeed[] {
  return MATRIX_FORMATS.flatMap((experts) =>
    restsBeside(experts).map((rest) => needOf(weights, experts, rest)),
  );
}

function restsBeside(experts: MatrixFormat): MatrixFormat[] {
  const format = QUANTIZED[experts];
  if (format === undefined) return [experts];
  const isHalfByte = quantizedFormats[format].codesPerByte === 2;
  return ["f32", "f16", ...(isHalfByte ? (["q8_32"] as const) : []), experts];
}

function needOf(weights: readonly Weight[], experts: MatrixFormat, rest: MatrixFormat): MemoryNeed {
  const formats = { experts, matrix: rest, kept: "f32" } as const;
  const bytesOf = (weight: Weight): number | undefined => bytesIn(weight, formats[weight.kind]);
  const read = (weight: Weight): number | undefined => {
    const bytes = bytesOf(weight);
    if (bytes === undefined || weight.used === undefined) return undefined;
    return weight.isLookup ? bytes / (weight.shape[0] ?? 1) : bytes * weight.used;
  };
  return {
    experts,
    rest,
    bytes: sumOver(weights, bytesOf) ?? null,
    bytesPerToken: sumOver(weights, read) ?? null,
  };
}

/** Bytes of codes and scales; `undefined` where rows do not hold whole blocks. */
function bytesIn(weight: Weight, format: MatrixFormat): number | undefined {
  const count = elements(weight);
  const name = QUANTIZED[format];
  if (name === undefined) return count * (format === "f16" ? F16_BYTES : F32_BYTES);
  const { codesPerByte, block, zeroPoint } = quantizedFormats[name];
  const row = weight.shape.at(-1) ?? 1;
  if (row % (block ?? codesPerByte) !== 0) return undefined;
  // Formats of whole steps have float scales, the others a byte.
  return (
    count / codesPerByte + (count / (block ?? row)) * (zeroPoint === undefined ? 1 : F32_BYTES)
  );
}
