import {
  type AnyOp,
  type Capabilities,
  type ProductFormat,
  type QuantizedFormat,
  type Shape,
  quantizedFormats,
  storedFormat,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { excusedFromInvariance } from "../excuse.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";

/** Every format of this version of the contract in which weights are stored. */
export const FORMATS = Object.keys(quantizedFormats) as readonly QuantizedFormat[];

/**
 * Why a backend is excused from cases of a format. One that rounds activations asks for no more than
 * the format in which it is stored: without a kernel of its own it is taken apart, into rounding and
 * numbers.
 */
export function lacks(
  format: ProductFormat,
  { formats, dtypes }: Pick<Capabilities, "formats" | "dtypes">,
): string | undefined {
  const stored = storedFormat(format);
  return formats.includes(stored) && dtypes.includes("u8")
    ? undefined
    : `the manifest does not have the format ${stored}`;
}

/** The same for cases on how a token's bits depend on its batch. */
export function lacksInvariant(format: ProductFormat): NonNullable<ConformanceCase["unsupported"]> {
  return (capabilities) => lacks(format, capabilities) ?? excusedFromInvariance(capabilities);
}

/** The same for cases that need several, perhaps none. */
export function lacksAny(
  formats: readonly ProductFormat[] = [],
): NonNullable<ConformanceCase["unsupported"]> {
  return (capabilities) =>
    formats.map((format) => lacks(format, capabilities)).find((missing) => missing !== undefined);
}

/**
 * Fails the case unless a fused op ran as the manifest says of a format of its weights: as a kernel
 * where fused ops take the format, else in parts.
 */
export function ranAsClaimed(test: CaseContext, { name }: AnyOp, format: string): void {
  const { ops, formats, fusedFormats = formats } = test.capabilities;
  if (!ops.includes(name)) return;
  const entry = test.backend.record()[name];
  const fused = fusedFormats.includes(format);
  test.expect(
    fused ? (entry?.kernel ?? 0) > 0 && entry?.decomposed === 0 : (entry?.decomposed ?? 0) > 0,
    `the manifest says that ${name} ${fused ? "takes" : "does not take"} ${format}, ` +
      `but its calls were recorded as ${JSON.stringify(entry)}`,
  );
}

/** Codes and scales. */
export interface Quantised {
  readonly codes: HostTensor;
  readonly scales: HostTensor;
}

/** Shape of the codes and of the scales of values. */
export function heldShapes(
  format: QuantizedFormat,
  values: Shape,
): { readonly codes: Shape; readonly scales: Shape } {
  const { codesPerByte, block } = quantizedFormats[format];
  const [rows, width] = [values.slice(0, -1), values.at(-1) ?? 0];
  return {
    codes: [...rows, width / codesPerByte],
    scales: block === undefined ? rows : [...rows, width / block],
  };
}

/** Numbers in a format, roughly: the kit compares what codes stand for, not how they were found. */
export function quantised(format: ProductFormat, tensor: HostTensor): Quantised {
  const stored = storedFormat(format);
  const { block, zeroPoint, codesPerByte } = quantizedFormats[stored];
  const shapes = heldShapes(stored, tensor.shape);
  const sharing = block ?? tensor.shape.at(-1) ?? 1;
  const count = shapes.scales.reduce((product, size) => product * size, 1);
  const largest = Array.from({ length: count }, (_, part) =>
    Math.max(0, ...[...tensor.data.subarray(part * sharing, (part + 1) * sharing)].map(Math.abs)),
  );
  const scales =
    zeroPoint === undefined
      ? largest.map((size) => Math.max(0, 125 + Math.floor(Math.log2(size || 1))))
      : largest.map((size) => size / (zeroPoint - 1));
  const codeAt = (place: number): number => {
    const scale = scales[Math.floor(place / sharing)] ?? 0;
    const value = tensor.data[place] ?? 0;
    return zeroPoint === undefined
      ? nearestMini(value / 2 ** (scale - 127))
      : Math.round(value / (scale || 1)) + zeroPoint;
  };
  return {
    codes: generated(shapes.codes, "u8", (index) =>
      codesPerByte === 1 ? codeAt(index) : codeAt(2 * index) + 16 * codeAt(2 * index + 1),
    ),
    scales: hostTensor(scales, zeroPoint === undefined ? "u8" : "f32", shapes.scales),
  };
}

const SIZES = [0, 0.5, 1, 1.5, 2, 3, 4, 6] as const;

function nearestMini(value: number): number {
  const distances = SIZES.map((size) => Math.abs(Math.abs(value) - size));
  return distances.indexOf(Math.min(...distances)) + (value < 0 ? 8 : 0);
}
