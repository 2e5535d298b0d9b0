import { ConfigError, FormatError, ShapeError, formatShape } from "@moiety/core";
import { type ByteSource, fillBytes, nameOf, readBytes } from "../source.ts";
import { listSome } from "../text.ts";
import { HEADER_START, LONGEST_HEADER, type Header, checkHeader } from "./header.ts";
import type { SafetensorsMetadata, TensorInfo, TensorReader } from "./info.ts";

/** An open safetensors file: its header was checked, its tensors are read when asked for. */
export interface SafetensorsFile extends TensorReader {
  /** The entry `__metadata__`, where the file has one. */
  readonly metadata: SafetensorsMetadata | undefined;
}

/**
 * Opens a safetensors file (format: github.com/huggingface/safetensors). Reads the header alone and
 * checks all of it: known dtypes, shapes against lengths, tensors inside the file and covering it
 * without hole or overlap, no key twice. The source must stay open while tensors are read.
 *
 * Throws {@link FormatError} with the offset of the byte at fault.
 */
export async function openSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  const { metadata, tensors } = await readHeader(source);
  return { metadata, ...tensorReader(tensors, () => source) };
}

async function readHeader(source: ByteSource): Promise<Header> {
  const name = nameOf(source);
  const { size } = source;
  if (size < HEADER_START) {
    throw new FormatError(
      `${name}: has ${size} bytes, but a safetensors file begins with 8 bytes of header length; ` +
        "the file is empty, cut short or of another kind, get it again",
      size,
    );
  }
  const first = await readBytes(source, 0, HEADER_START);
  const length = Number(
    new DataView(first.buffer, first.byteOffset, HEADER_START).getBigUint64(0, true),
  );
  if (length > LONGEST_HEADER) {
    throw new FormatError(
      `${name}: its first 8 bytes give a header of ${length} bytes, more than the ` +
        `${LONGEST_HEADER} that are allowed; it is no safetensors file, or damaged`,
      0,
    );
  }
  const dataStart = HEADER_START + length;
  if (dataStart > size) {
    throw new FormatError(
      `${name}: ends at byte ${size}, but its header runs to byte ${dataStart}; ` +
        "the file was cut short, get it again",
      size,
    );
  }
  const bytes = await readBytes(source, HEADER_START, length);
  if (bytes[0] !== 0x7b) {
    throw new FormatError(
      `${name}: the header does not begin with {; it is no safetensors file, or damaged`,
      HEADER_START,
    );
  }
  return checkHeader(bytes, { name, dataStart, size });
}

/** A reader over tensors whose header was checked; `sourceOf` says which file holds a tensor. */
export function tensorReader(
  infos: readonly TensorInfo[],
  sourceOf: (name: string) => ByteSource,
): TensorReader {
  const tensors = new Map(infos.map((info) => [info.name, info]));
  const find = (name: string): TensorInfo => {
    const info = tensors.get(name);
    if (info !== undefined) return info;
    throw new ConfigError(
      `there is no tensor "${name}"; there are ${listSome([...tensors.keys()])}`,
      "tensor",
      name,
    );
  };
  return {
    tensors,
    async read(name) {
      const { dtype, shape, offset, byteLength } = find(name);
      const bytes = await readBytes(sourceOf(name), offset, byteLength);
      return { name, dtype, shape, bytes };
    },
    async readRows(name, start, end) {
      const { dtype, shape, offset, byteLength } = find(name);
      const [rows, ...rest] = shape;
      const isRange = Number.isInteger(start) && Number.isInteger(end) && start >= 0;
      if (rows === undefined || !isRange || end < start || end > rows) {
        throw new ShapeError(
          `tensor "${name}" of shape ${formatShape(shape)} has no rows ${start} to ${end}; ` +
            `rows count along axis 0, from 0 to ${rows ?? "none (a scalar: read it whole)"}`,
        );
      }
      const rowBytes = rows === 0 ? 0 : byteLength / rows;
      const length = (end - start) * rowBytes;
      const bytes = await readBytes(sourceOf(name), offset + start * rowBytes, length);
      return { name, dtype, shape: [end - start, ...rest], bytes };
    },
    async readInto(name, byteStart, target) {
      const { offset, byteLength } = find(name);
      if (!Number.isInteger(byteStart) || byteStart < 0 || byteStart + target.length > byteLength) {
        throw new ShapeError(
          `tensor "${name}" has ${byteLength} bytes; there are no ${target.length} from ` +
            `byte ${byteStart} of it`,
        );
      }
      await fillBytes(sourceOf(name), offset + byteStart, target);
    },
  };
}
