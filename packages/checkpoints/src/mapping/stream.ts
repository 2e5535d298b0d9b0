import {
  type DType,
  type HostArray,
  type HostArrays,
  bytesPerElement,
  hostArray,
  sizeOf,
} from "@moiety/core";
import type { AbortLike } from "../folder/http.ts";
import { bytesOf } from "../host/byte-order.ts";
import type { TensorReader } from "../safetensors/info.ts";
import type { TensorBinding, TensorPart } from "./bind.ts";
import { type StoredPart, openPart } from "./stored.ts";
import { matricesOf, transposeInto } from "./transpose.ts";

/** Bytes of values that are read and passed on at once. */
const CHUNK_BYTES = 1 << 22;
/** Bytes of columns that are gathered at once where matrices are transposed. */
const BAND_BYTES = 1 << 24;

/** Where a path's values are written to, such as an upload of a backend. */
export interface PathTarget {
  /**
   * Copies bytes to a byte offset. They are in the machine's own order, and those of the caller: they
   * change once this has returned (or what it returns was fulfilled).
   */
  write(offset: number, bytes: Uint8Array): void | Promise<void>;
}

/** Options of {@link streamPath}. */
export interface StreamOptions {
  /** Ends it: checked before each piece is read, whose place is at most a few megabytes. */
  readonly signal?: AbortLike | undefined;
  /** Called after each piece: of which tensor it was, and how many bytes of the file it took. */
  readonly onRead?: ((name: string, bytes: number) => void) | undefined;
}

/**
 * Reads all tensors of a path, piece by piece, and writes their values into their places: every place
 * once, in no particular order. Whatever their size, some 40 megabytes are held at most.
 *
 * Throws `ConfigError` for a tensor that is not there, `FormatError` for one of another shape, what
 * `toHost` throws, and the signal's reason.
 */
export async function streamPath(
  reader: TensorReader,
  binding: TensorBinding,
  dtype: DType,
  target: PathTarget,
  options: StreamOptions = {},
): Promise<void> {
  const stream = new PathStream(dtype, target, options);
  for (const part of binding.parts) {
    if (options.signal) throwIfAborted(options.signal);
    await stream.write(part, await openPart(reader, binding, part, dtype));
  }
}

/** Throws the signal's reason where it was aborted. */
function throwIfAborted(signal: AbortLike): void {
  if (signal.aborted) throw signal.reason;
}

/** Writes part after part, by way of the same buffers. */
class PathStream {
  readonly #dtype: DType;
  readonly #target: PathTarget;
  readonly #options: StreamOptions;
  readonly #elementBytes: number;
  #chunk: HostArray;
  #band: HostArray;

  constructor(dtype: DType, target: PathTarget, options: StreamOptions) {
    this.#dtype = dtype;
    this.#target = target;
    this.#options = options;
    this.#elementBytes = bytesPerElement(dtype);
    this.#chunk = hostArray(dtype, 0);
    this.#band = hostArray(dtype, 0);
  }

  async write(part: TensorPart, stored: StoredPart): Promise<void> {
    const advance = this.#progress(part, stored);
    if (stored.isTransposed) await this.#writeTransposed(part, stored, advance);
    else await this.#writePieces(part, stored, advance);
  }

  async #writePieces(
    { start, size, pieces }: TensorPart,
    stored: StoredPart,
    advance: (elements: number) => void,
  ): Promise<void> {
    const { count, step } = pieces ?? { count: 1, step: size };
    const length = count > 0 ? size / count : 0;
    for (let piece = 0; piece < count; piece++) {
      const first = piece * length;
      for await (const { from, values } of this.#chunks(
        stored,
        first,
        first + length,
        stored.unit,
      )) {
        await this.#pass(start + piece * step + from - first, values);
        advance(values.length);
      }
    }
  }

  /** Matrix by matrix, a band of its columns at a time: they become whole rows. */
  async #writeTransposed(
    part: TensorPart,
    stored: StoredPart,
    advance: (elements: number) => void,
  ): Promise<void> {
    const { height, width, step } = matricesOf(stored.shape, part);
    const size = height * width;
    if (size === 0) return;
    const most = Math.max(1, Math.floor(BAND_BYTES / this.#elementBytes / height));
    for (let matrix = 0; matrix < part.size / size; matrix++) {
      for (let left = 0; left < width; left += most) {
        const columns = Math.min(most, width - left);
        const band = this.#room("band", columns * height);
        const begin = matrix * size;
        for await (const { from, values } of this.#chunks(stored, begin, begin + size, width)) {
          const row = (from - begin) / width;
          transposeInto(values, { width, left, columns }, band, { height, row });
          if (left === 0) advance(values.length);
        }
        await this.#pass(part.start + matrix * step + left * height, band);
      }
    }
  }

  /** The values of a range, so many whole units at a time. */
  async *#chunks(
    stored: StoredPart,
    from: number,
    to: number,
    unit: number,
  ): AsyncGenerator<{ from: number; values: HostArrays[DType] }> {
    const most = Math.max(1, Math.floor(CHUNK_BYTES / this.#elementBytes / unit)) * unit;
    for (let first = from; first < to; first += most) {
      if (this.#options.signal) throwIfAborted(this.#options.signal);
      const values = this.#room("chunk", Math.min(most, to - first));
      await stored.read(first, values.length, values, 0);
      yield { from: first, values };
    }
  }

  async #pass(start: number, values: HostArray): Promise<void> {
    await this.#target.write(start * this.#elementBytes, bytesOf(values));
  }

  /** The first so many elements of a buffer, which grows as needed. */
  #room(which: "chunk" | "band", length: number): HostArray {
    let buffer = which === "chunk" ? this.#chunk : this.#band;
    if (buffer.length < length) buffer = hostArray(this.#dtype, length);
    if (which === "chunk") this.#chunk = buffer;
    else this.#band = buffer;
    return buffer.subarray(0, length);
  }

  /** Tells bytes of the file by elements that were read; together they are all that the part takes. */
  #progress({ name }: TensorPart, { infos, shape }: StoredPart): (elements: number) => void {
    const { onRead } = this.#options;
    if (onRead === undefined) return () => undefined;
    const size = sizeOf(shape);
    const total = infos.reduce((sum, { byteLength }) => sum + byteLength, 0);
    let done = 0;
    return (elements) => {
      const before = Math.floor((total * done) / size);
      done += elements;
      onRead(infos[0]?.name ?? name, Math.floor((total * done) / size) - before);
    };
  }
}
