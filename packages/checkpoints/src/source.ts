import { FormatError } from "@moiety/core";

/**
 * Bytes that can be read by ranges: a file, a blob, a buffer, or anything else with these two
 * members.
 */
export interface ByteSource {
  /** Length in bytes. */
  readonly size: number;
  /** What errors call it, such as a path. */
  readonly name?: string | undefined;
  /** Reads `length` bytes from `offset`. The result may be a view: it is only read. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Fills `target` from `offset`, where that saves a copy. */
  readInto?(offset: number, target: Uint8Array): Promise<void>;
}

/** A stretch of a `Blob`. */
export interface BlobPart {
  /** Reads it. */
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** What of a `Blob` or `File` is used, so that no DOM types are needed. */
export interface BlobLike {
  /** Length in bytes. */
  readonly size: number;
  /** The bytes from `start` up to `end`. */
  slice(start: number, end: number): BlobPart;
}

/** A source over bytes in memory; reads are views, not copies. */
export function bytesSource(bytes: Uint8Array, name?: string): ByteSource {
  return {
    size: bytes.length,
    name,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
  };
}

/** A source over a `Blob` or `File`, such as one that a user picked in a browser. */
export function blobSource(blob: BlobLike, name?: string): ByteSource {
  return {
    size: blob.size,
    name,
    read: async (offset, length) =>
      new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()),
  };
}

/** What errors call a source. */
export function nameOf(source: ByteSource): string {
  return source.name ?? "the file";
}

/** Reads exactly `length` bytes. Throws {@link FormatError} where the source holds fewer. */
export async function readBytes(
  source: ByteSource,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = await source.read(offset, length);
  if (bytes.length !== length) throw wrongLength(source, offset, length, bytes.length);
  return bytes;
}

/** Fills `target` from `offset`. Throws {@link FormatError} where the source holds too little. */
export async function fillBytes(
  source: ByteSource,
  offset: number,
  target: Uint8Array,
): Promise<void> {
  if (source.readInto !== undefined) await source.readInto(offset, target);
  else target.set(await readBytes(source, offset, target.length));
}

function wrongLength(source: ByteSource, offset: number, wanted: number, got: number): FormatError {
  return new FormatError(
    `${nameOf(source)}: asked for ${wanted} bytes at byte ${offset} and got ${got}; ` +
      "it changed while it was open, or its source does not read ranges correctly",
    offset + Math.min(wanted, got),
  );
}
