import { ShapeError, formatShape, sizeOf } from "@moiety/core";
import { safetensorsBytes } from "./dtype.ts";
import type { SafetensorsMetadata, TensorReader } from "./info.ts";
import { type SafetensorsLayout, type TensorShape, layoutSafetensors } from "./layout.ts";

/** A tensor to be written. Its bytes are asked for when their turn comes. */
export interface TensorEntry extends TensorShape {
  /** The elements: little-endian, row-major, as long as dtype and shape say. */
  bytes(): Uint8Array | Promise<Uint8Array>;
}

/** A file as a stream: chunks that are to be written one after another. */
export interface SafetensorsStream extends AsyncIterable<Uint8Array> {
  /** Length of all chunks together, in bytes. */
  readonly size: number;
}

/**
 * Writes a file as a stream, holding one tensor at a time. Names, dtypes, shapes and metadata are
 * checked before this returns (see {@link layoutSafetensors}).
 *
 * While it streams, throws {@link ShapeError} for bytes that do not fit their tensor's shape.
 */
export function streamSafetensors(
  entries: Iterable<TensorEntry>,
  metadata?: SafetensorsMetadata,
): SafetensorsStream {
  const layout = layoutSafetensors(entries, metadata);
  return { size: layout.size, [Symbol.asyncIterator]: () => chunksOf(layout) };
}

async function* chunksOf(layout: SafetensorsLayout<TensorEntry>): AsyncGenerator<Uint8Array> {
  yield layout.header;
  for (const entry of layout.entries) {
    const bytes = await entry.bytes();
    const needed = sizeOf(entry.shape) * safetensorsBytes(entry.dtype);
    if (bytes.length !== needed) {
      throw new ShapeError(
        `tensor "${entry.name}": ${entry.dtype} ${formatShape(entry.shape)} takes ${needed} ` +
          `bytes, but ${bytes.length} were given`,
        { shapes: [entry.shape] },
      );
    }
    yield bytes;
  }
}

/** Writes a file into memory. Throws as {@link streamSafetensors} does. */
export async function encodeSafetensors(
  entries: Iterable<TensorEntry>,
  metadata?: SafetensorsMetadata,
): Promise<Uint8Array> {
  const stream = streamSafetensors(entries, metadata);
  const file = new Uint8Array(stream.size);
  let offset = 0;
  for await (const chunk of stream) {
    file.set(chunk, offset);
    offset += chunk.length;
  }
  return file;
}

/** Entries that copy every tensor of a file or folder, each read when its turn comes. */
export function copyEntries(reader: TensorReader): TensorEntry[] {
  return [...reader.tensors.values()].map(({ name, dtype, shape }) => ({
    name,
    dtype,
    shape,
    bytes: async () => (await reader.read(name)).bytes,
  }));
}
