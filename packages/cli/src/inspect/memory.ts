import { type QuantizedFormat, quantizedFormats } from "@moiety/core";
import { type Weight, elements, sumOver } from "./weight.ts";

/** How the matrices of routed experts may be held, by the names of the command line. */
export const EXPERT_FORMATS = ["f32", "f16", "q8_row", "q8_32", "q4_32", "mxfp4"] as const;

/** One of them. */
export type ExpertFormat = (typeof EXPERT_FORMATS)[number];

/** Dtypes in which the other matrices may be held. */
const REST_DTYPES = ["f32", "f16"] as const;

/** What a model needs in memory in one format. */
export interface MemoryNeed {
  /** Format of the matrices of routed experts. */
  readonly experts: ExpertFormat;
  /** Dtype of the other matrices. Norms, biases and routers are float32. */
  readonly rest: (typeof REST_DTYPES)[number];
  /** Bytes of all weights; `null` where rows do not hold whole blocks of the format. */
  readonly bytes: number | null;
  /** Bytes of weights that one token reads; `null` where that is not known. */
  readonly bytesPerToken: number | null;
}

const F32_BYTES = 4;
const F16_BYTES = 2;

/** Names of the contract of backends. */
const QUANTIZED: Readonly<Partial<Record<ExpertFormat, QuantizedFormat>>> = {
  q8_row: "q8_row",
  q8_32: "q8_block32",
  q4_32: "q4_block32",
  mxfp4: "mxfp4",
};

/** What the weights need in every format. Halves stand together: with experts in f16 all is. */
export function memoryNeeds(weights: readonly Weight[]): MemoryNeed[] {
  return EXPERT_FORMATS.flatMap((experts) =>
    REST_DTYPES.flatMap((rest) => {
      const isMixed = QUANTIZED[experts] === undefined && experts !== rest;
      return isMixed ? [] : [needOf(weights, experts, rest)];
    }),
  );
}

function needOf(
  weights: readonly Weight[],
  experts: ExpertFormat,
  rest: MemoryNeed["rest"],
): MemoryNeed {
  const bytesOf = (weight: Weight): number | undefined => {
    if (weight.kind === "experts") return bytesIn(weight, experts);
    return elements(weight) * (weight.kind === "matrix" && rest === "f16" ? F16_BYTES : F32_BYTES);
  };
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
function bytesIn(weight: Weight, format: ExpertFormat): number | undefined {
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
