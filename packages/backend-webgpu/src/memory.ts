import { type DriverStatistics, type TensorSpec, OutOfMemoryError, byteLength } from "@moiety/core";
import type { GpuContext } from "./context.ts";

/** Freed buffers kept for reuse hold at most this many bytes. */
const SPARE_BYTES = 2 ** 29;
/** Sizes of buffers are rounded up to steps of at least this: that of uniform and storage offsets. */
const SMALLEST_STEP = 256;
/** Buffers of one size class differ by at most one part in so many. */
const STEPS_PER_OCTAVE = 8;
/** From this size on, work that uses a new buffer waits until the device has said that it has room. */
const CHECKED_BYTES = 2 ** 24;

/** A GPU buffer with what the queue has to know of it. */
export interface Block {
  /** Unique in the driver's life: names bind groups. */
  readonly id: number;
  readonly buffer: GPUBuffer;
  readonly bytes: number;
  /** Commands that use it and are not submitted yet. */
  pending: number;
  /** Unsettled until the device has said whether it had room; absent when it is known. */
  arriving: Promise<void> | undefined;
  /** Why the buffer is not there. */
  missing: OutOfMemoryError | undefined;
}

/**
 * A tensor's bytes: one block, or several of `segmentBytes` each (the last one shorter) where the
 * tensor is larger than a binding may be.
 */
export class GpuHandle {
  readonly byteLength: number;
  readonly blocks: readonly Block[];
  /** Bytes of every segment but the last. */
  readonly segmentBytes: number;
  /** Which life of the device it belongs to. */
  readonly life: number;
  /** Words written in part, by their number: uploads of half floats and bytes come in any pieces. */
  partialWords: Map<number, Uint8Array> | undefined;
  freed = false;

  constructor(byteLength: number, blocks: readonly Block[], segmentBytes: number, life: number) {
    this.byteLength = byteLength;
    this.blocks = blocks;
    this.segmentBytes = segmentBytes;
    this.life = life;
  }
}

/** Gives out buffers of one device, counts them, and uses freed ones again at the same size. */
export class Memory {
  readonly #context: GpuContext;
  readonly #life: number;
  readonly #limit: number;
  readonly #nextId: () => number;
  readonly #spare = new Map<number, Block[]>();
  /** Every buffer that was not destroyed. */
  readonly #blocks = new Set<Block>();
  #trash: Block[] = [];
  #spareBytes = 0;
  #liveBuffers = 0;
  #liveBytes = 0;
  #peakBytes = 0;
  #created = 0;

  constructor(context: GpuContext, life: number, limit: number, nextId: () => number) {
    this.#context = context;
    this.#life = life;
    this.#limit = limit;
    this.#nextId = nextId;
  }

  /** Number of GPU buffers made. */
  get created(): number {
    return this.#created;
  }

  /** A buffer with unspecified content. Throws {@link OutOfMemoryError}. */
  allocate(spec: TensorSpec): GpuHandle {
    const bytes = byteLength(spec);
    if (this.#liveBytes + bytes > this.#limit) {
      throw new OutOfMemoryError(
        `no room for ${bytes} bytes: ${this.#liveBytes} of ${this.#limit} are in use; ` +
          "dispose tensors, open a scope around each step, or raise memoryLimit",
        bytes,
      );
    }
    const { segmentBytes } = this.#context;
    const blocks: Block[] = [];
    for (let start = 0; start < bytes || start === 0; start += segmentBytes) {
      blocks.push(this.#take(Math.min(segmentBytes, bytes - start)));
    }
    this.#liveBuffers++;
    this.#liveBytes += bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return new GpuHandle(bytes, blocks, segmentBytes, this.#life);
  }

  /** Takes a buffer back. Commands that were queued before may still use it. */
  free(handle: GpuHandle): void {
    if (handle.freed || handle.life !== this.#life) return;
    handle.freed = true;
    this.#liveBuffers--;
    this.#liveBytes -= handle.byteLength;
    for (const block of handle.blocks) this.#keep(block);
  }

  statistics(): DriverStatistics {
    return {
      liveBuffers: this.#liveBuffers,
      liveBytes: this.#liveBytes,
      peakBytes: this.#peakBytes,
    };
  }

  /** Destroys what was set aside; called when nothing unsubmitted uses it any more. */
  sweep(): void {
    const kept: Block[] = [];
    for (const block of this.#trash) {
      if (block.pending > 0) kept.push(block);
      else this.#destroy(block);
    }
    this.#trash = kept;
  }

  /** Destroys everything. */
  dispose(): void {
    for (const block of this.#blocks) block.buffer.destroy();
    this.#blocks.clear();
    this.#spare.clear();
    this.#trash = [];
  }

  #take(bytes: number): Block {
    const size = sizeClass(bytes);
    const spare = this.#spare.get(size)?.pop();
    if (spare === undefined) return this.#make(size);
    this.#spareBytes -= size;
    return spare;
  }

  #make(bytes: number): Block {
    const { device } = this.#context;
    const checked = bytes >= CHECKED_BYTES;
    if (checked) device.pushErrorScope("out-of-memory");
    const block: Block = {
      id: this.#nextId(),
      buffer: device.createBuffer({ size: bytes, usage: STORAGE_USAGE }),
      bytes,
      pending: 0,
      arriving: undefined,
      missing: undefined,
    };
    this.#created++;
    this.#blocks.add(block);
    if (checked) block.arriving = this.#check(block);
    return block;
  }

  async #check(block: Block): Promise<void> {
    const error = await this.#context.device.popErrorScope().catch(() => null);
    block.arriving = undefined;
    if (error === null) return;
    block.missing = new OutOfMemoryError(
      `the GPU has no room for ${block.bytes} bytes beside ${this.#liveBytes} in use ` +
        `(${error.message}); dispose tensors or use a smaller batch`,
      block.bytes,
    );
    this.#blocks.delete(block);
  }

  #keep(block: Block): void {
    if (block.missing || this.#spareBytes + block.bytes > SPARE_BYTES) {
      this.#trash.push(block);
      return;
    }
    const blocks = this.#spare.get(block.bytes);
    if (blocks === undefined) this.#spare.set(block.bytes, [block]);
    else blocks.push(block);
    this.#spareBytes += block.bytes;
  }

  #destroy(block: Block): void {
    this.#blocks.delete(block);
    block.buffer.destroy();
  }
}

/** GPUBufferUsage.STORAGE | COPY_SRC | COPY_DST: the constants are not there before a device is. */
const STORAGE_USAGE = 0x80 | 0x04 | 0x08;

/** The size of the buffer that a number of bytes is put in. */
export function sizeClass(bytes: number): number {
  const octave = 2 ** Math.floor(Math.log2(Math.max(bytes, 1)));
  const step = Math.max(SMALLEST_STEP, octave / STEPS_PER_OCTAVE);
  return Math.max(step, Math.ceil(bytes / step) * step);
}
