import { ConfigError, formatShape, sizeOf } from "@moiety/core";
import { compareCodePoints, isWellFormed } from "../text.ts";
import {
  type SafetensorsDtype,
  alignmentRank,
  isSafetensorsDtype,
  safetensorsBytes,
  safetensorsDtypes,
} from "./dtype.ts";
import { LONGEST_HEADER } from "./header.ts";
import type { SafetensorsMetadata } from "./info.ts";

/** What the header needs to know of a tensor. */
export interface TensorShape {
  /** Name in the file; any text but `__metadata__`. */
  readonly name: string;
  /** Element type in the file. */
  readonly dtype: SafetensorsDtype;
  /** Sizes of the dimensions. */
  readonly shape: readonly number[];
}

/** How the bytes of a file will lie. */
export interface SafetensorsLayout<Entry extends TensorShape> {
  /** The first bytes: header length, header, padding to a multiple of 8. */
  readonly header: Uint8Array;
  /** The tensors in the order in which their bytes follow. */
  readonly entries: readonly Entry[];
  /** Length of the whole file in bytes. */
  readonly size: number;
}

/**
 * Lays a file out just as Hugging Face's safetensors does: tensors by falling alignment of their
 * dtype and then by name, `__metadata__` first in the header, spaces up to a multiple of 8 bytes.
 *
 * Throws {@link ConfigError} for a name that stands twice or cannot stand, an unknown dtype, a shape
 * or metadata that make no sense, and a header above the format's 100 MB.
 */
export function layoutSafetensors<Entry extends TensorShape>(
  entries: Iterable<Entry>,
  metadata?: SafetensorsMetadata,
): SafetensorsLayout<Entry> {
  const sorted = [...entries];
  for (const entry of sorted) checkEntry(entry);
  sorted.sort(
    (a, b) => alignmentRank(b.dtype) - alignmentRank(a.dtype) || compareCodePoints(a.name, b.name),
  );
  const parts: string[] = [];
  if (metadata !== undefined) parts.push(`"__metadata__":${metadataText(metadata)}`);
  let end = 0;
  let before: string | undefined;
  const seen = new Set<string>();
  for (const { name, dtype, shape } of sorted) {
    if (seen.has(name)) {
      throw new ConfigError(
        `two tensors are called "${name}"; give each its own name`,
        "tensors",
        name,
      );
    }
    seen.add(name);
    const begin = end;
    end += sizeOf(shape) * safetensorsBytes(dtype);
    const info = JSON.stringify({ dtype, shape, data_offsets: [begin, end] });
    parts.push(`${JSON.stringify(name)}:${info}`);
    before = name;
  }
  if (!Number.isSafeInteger(end)) {
    throw new ConfigError(`the tensors up to "${before}" pass 2^53 bytes`, "tensors", end);
  }
  const header = headerBytes(`{${parts.join(",")}}`);
  return { header, entries: sorted, size: header.length + end };
}

function checkEntry({ name, dtype, shape }: TensorShape): void {
  if (name === "__metadata__" || !isWellFormed(name)) {
    throw new ConfigError(
      `a tensor cannot be called ${JSON.stringify(name)}: ` +
        "the name is taken by the format or is not valid Unicode; rename it",
      "name",
      name,
    );
  }
  if (!isSafetensorsDtype(dtype)) {
    throw new ConfigError(
      `tensor "${name}" has the unknown dtype "${String(dtype)}"; ` +
        `use one of ${safetensorsDtypes().join(", ")}`,
      "dtype",
      dtype,
    );
  }
  if (!shape.every((dimension) => Number.isSafeInteger(dimension) && dimension >= 0)) {
    throw new ConfigError(
      `tensor "${name}" has shape ${formatShape(shape)}; dimensions are whole and not negative`,
      "shape",
      shape,
    );
  }
}

function metadataText(metadata: SafetensorsMetadata): string {
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string" || !isWellFormed(key) || !isWellFormed(value)) {
      throw new ConfigError(
        `the metadata "${key}" must be valid text; turn other values into strings`,
        key,
        value,
      );
    }
  }
  return JSON.stringify(metadata);
}

function headerBytes(text: string): Uint8Array {
  const json = new TextEncoder().encode(text);
  const padded = Math.ceil(json.length / 8) * 8;
  if (padded > LONGEST_HEADER) {
    throw new ConfigError(
      `the header would take ${padded} bytes, above the ${LONGEST_HEADER} that readers allow; ` +
        "split the tensors over several files",
      "tensors",
      padded,
    );
  }
  const bytes = new Uint8Array(8 + padded).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(json, 8);
  return bytes;
}
