import { type DriverStatistics, OutOfMemoryError, UseAfterDisposeError } from "@moiety/core";

/** Freed blocks kept for reuse hold at most this many bytes. */
const SPARE_BYTES = 2 ** 28;
/** Blocks below this size are cheaper to make anew than to look up. */
const SMALLEST_SPARE = 4096;

/** A buffer of this backend: bytes that a tensor of any fitting shape and dtype may be read from. */
export class CpuBuffer {
  /** Bytes that it holds. */
  readonly byteLength: number;
  #block: ArrayBuffer | undefined;

  constructor(block: ArrayBuffer) {
    this.#block = block;
    this.byteLength = block.byteLength;
  }

  /** The bytes. Throws {@link UseAfterDisposeError} when they were given back. */
  get block(): ArrayBuffer {
    if (this.#block !== undefined) return this.#block;
    throw new UseAfterDisposeError("a buffer was used after it was freed");
  }

  /** Takes the bytes out; the buffer is dead from here on. */
  surrender(): ArrayBuffer {
    const block = this.block;
    this.#block = undefined;
    return block;
  }
}

/** Gives out buffers and counts them. Blocks of freed buffers are used again at the same size. */
export class Memory {
  readonly #limit: number;
  readonly #spare = new Map<number, ArrayBuffer[]>();
  #spareBytes = 0;
  #liveBuffers = 0;
  #liveBytes = 0;
  #peakBytes = 0;

  /** `limit`: bytes that live buffers may take together. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** A buffer with unspecified content. Throws {@link OutOfMemoryError}. */
  allocate(bytes: number): CpuBuffer {
    if (this.#liveBytes + bytes > this.#limit) {
      throw new OutOfMemoryError(
        `no room for ${bytes} bytes: ${this.#liveBytes} of ${this.#limit} are in use; ` +
          "dispose tensors, open a scope around each step, or raise memoryLimit",
        bytes,
      );
    }
    const buffer = new CpuBuffer(this.#reuse(bytes) ?? this.#make(bytes));
    this.#liveBuffers++;
    this.#liveBytes += bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return buffer;
  }

  free(buffer: CpuBuffer): void {
    const block = buffer.surrender();
    this.#liveBuffers--;
    this.#liveBytes -= block.byteLength;
    if (block.byteLength < SMALLEST_SPARE) return;
    if (this.#spareBytes + block.byteLength > SPARE_BYTES) return;
    const blocks = this.#spare.get(block.byteLength);
    if (blocks === undefined) this.#spare.set(block.byteLength, [block]);
    else blocks.push(block);
    this.#spareBytes += block.byteLength;
  }

  statistics(): DriverStatistics {
    return {
      liveBuffers: this.#liveBuffers,
      liveBytes: this.#liveBytes,
      peakBytes: this.#peakBytes,
    };
  }

  /** Drops the blocks that were kept for reuse. */
  dispose(): void {
    this.#dropSpare();
  }

  #reuse(bytes: number): ArrayBuffer | undefined {
    const block = this.#spare.get(bytes)?.pop();
    if (block !== undefined) this.#spareBytes -= bytes;
    return block;
  }

  #make(bytes: number): ArrayBuffer {
    try {
      return new ArrayBuffer(bytes);
    } catch {
      this.#dropSpare();
    }
    try {
      return new ArrayBuffer(bytes);
    } catch (cause) {
      throw new OutOfMemoryError(
        `this machine has no room for ${bytes} bytes; ${this.#liveBytes} are in use`,
        bytes,
        { cause },
      );
    }
  }

  #dropSpare(): void {
    this.#spare.clear();
    this.#spareBytes = 0;
  }
}
