/**
 * The engine's memory: one ArrayBuffer, cut into blocks. It knows addresses and bytes, nothing of
 * tensors, as the memory of a WebAssembly module or of a native library would.
 */
import { OutOfMemoryError } from "@moiety/core";

/** Every block begins at a multiple of it, so that numbers of any dtype lie aligned. */
const ALIGNMENT = 16;
/** Size of a new heap; it doubles when it is full. */
const FIRST_BYTES = 2 ** 20;
/** Distance between the addresses of one heap and those of the next. */
export const ADDRESS_SPACE = 2 ** 32;

/** @typedef {{ start: number, end: number }} Gap */

export class Heap {
  /** The address of the first byte: no address of an earlier heap ever comes again. */
  #base;
  #limit;
  #buffer = new ArrayBuffer(FIRST_BYTES);
  /** Bytes from here on were never given out, or came back. */
  #top = 0;
  /**
   * Free bytes below the top, by place.
   *
   * @type {Gap[]}
   */
  #gaps = [];
  /**
   * Bytes of every block that is given out, by address.
   *
   * @type {Map<number, number>}
   */
  #blocks = new Map();
  #liveBytes = 0;
  #peakBytes = 0;

  /**
   * @param {number} base address of the first byte
   * @param {number} limit bytes that the blocks may take together
   */
  constructor(base, limit) {
    this.#base = base;
    this.#limit = limit;
  }

  /** @returns {import("@moiety/core").DriverStatistics} */
  get statistics() {
    return {
      liveBuffers: this.#blocks.size,
      liveBytes: this.#liveBytes,
      peakBytes: this.#peakBytes,
    };
  }

  /**
   * Gives out a block and its address. What is in it is left over from whoever had it before.
   *
   * @param {number} bytes may be 0: the address is still one that no other block has
   */
  allocate(bytes) {
    if (this.#liveBytes + bytes > this.#limit) {
      const used = `${this.#liveBytes} of ${this.#limit} are in use`;
      throw new OutOfMemoryError(`no room for ${bytes} bytes: ${used}; dispose tensors`, bytes);
    }
    const start = this.#place(Math.max(1, Math.ceil(bytes / ALIGNMENT)) * ALIGNMENT);
    this.#blocks.set(this.#base + start, bytes);
    this.#liveBytes += bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return this.#base + start;
  }

  /** @param {number} address */
  free(address) {
    const bytes = this.#sizeOf(address);
    this.#blocks.delete(address);
    this.#liveBytes -= bytes;
    const start = address - this.#base;
    const end = start + Math.max(1, Math.ceil(bytes / ALIGNMENT)) * ALIGNMENT;
    this.#giveBack({ start, end });
  }

  /**
   * The memory and where in it a block lies. A later `allocate` may move the memory, so nobody may
   * keep this.
   *
   * @param {number} address
   */
  locate(address) {
    this.#sizeOf(address);
    return { buffer: this.#buffer, byteOffset: address - this.#base };
  }

  /**
   * Bytes of a block, not a copy of them.
   *
   * @param {number} address
   * @param {number} offset
   * @param {number} length
   */
  bytes(address, offset, length) {
    if (offset < 0 || offset + length > this.#sizeOf(address)) {
      throw new RangeError(`bytes ${offset} to ${offset + length} are outside the block`);
    }
    return new Uint8Array(this.#buffer, address - this.#base + offset, length);
  }

  /** @param {number} address */
  #sizeOf(address) {
    const bytes = this.#blocks.get(address);
    if (bytes === undefined) throw new RangeError(`${address} is no address of a block`);
    return bytes;
  }

  /**
   * The first gap that is large enough, else the top.
   *
   * @param {number} size
   */
  #place(size) {
    const index = this.#gaps.findIndex(({ start, end }) => end - start >= size);
    const gap = this.#gaps[index];
    if (gap === undefined) {
      this.#grow(this.#top + size);
      this.#top += size;
      return this.#top - size;
    }
    const { start } = gap;
    gap.start += size;
    if (gap.start === gap.end) this.#gaps.splice(index, 1);
    return start;
  }

  /** @param {Gap} gap */
  #giveBack(gap) {
    let index = this.#gaps.findIndex(({ start }) => start > gap.start);
    if (index < 0) index = this.#gaps.length;
    const [before, after] = [this.#gaps[index - 1], this.#gaps[index]];
    if (after?.start === gap.end) {
      gap.end = after.end;
      this.#gaps.splice(index, 1);
    }
    if (before?.end === gap.start) {
      before.end = gap.end;
    } else {
      this.#gaps.splice(index, 0, gap);
    }
    const last = this.#gaps.at(-1);
    if (last?.end !== this.#top) return;
    this.#top = last.start;
    this.#gaps.pop();
  }

  /** @param {number} least bytes that the memory must have */
  #grow(least) {
    let size = this.#buffer.byteLength;
    while (size < least) size *= 2;
    if (size === this.#buffer.byteLength) return;
    try {
      const larger = new ArrayBuffer(size);
      new Uint8Array(larger).set(new Uint8Array(this.#buffer));
      this.#buffer = larger;
    } catch (cause) {
      throw new OutOfMemoryError(`this machine has no room for ${size} bytes`, least, { cause });
    }
  }
}
