import { OutOfMemoryError } from "@moiety/core";

/** Bytes of a page of WebAssembly memory. */
export const PAGE = 65_536;
/** Blocks begin and end at multiples of it: a cache line. */
export const LINE = 64;
/** Bytes behind every block that kernels may read, and overwrite, so that they need no tails. */
export const MARGIN = 64;
/** Memory grows by at least so many bytes. */
const GROWTH = 64 * PAGE;

/** What the heap needs of a memory. */
export interface Growable {
  readonly byteLength: number;
  /** Grows by bytes. Throws where the engine refuses. */
  grow(bytes: number): void;
}

/**
 * Gives out blocks of linear memory, smallest fitting first; freed neighbours become one block again.
 * All sizes are in bytes and multiples of {@link LINE}.
 */
export class Heap {
  readonly #memory: Growable;
  readonly #limit: number;
  /** Free blocks: size by start, and start by end. */
  readonly #sizes = new Map<number, number>();
  readonly #starts = new Map<number, number>();
  /** Starts of free blocks by size class. */
  readonly #classes: Set<number>[] = [];
  #end: number;

  /** Blocks lie from `begin` on and below `limit`. */
  constructor(memory: Growable, begin: number, limit: number) {
    this.#memory = memory;
    this.#limit = limit;
    this.#end = roundUp(begin, LINE);
    const rest = memory.byteLength - this.#end;
    if (rest > 0) {
      this.#insert(this.#end, rest);
      this.#end += rest;
    }
  }

  /** The start of a block that holds so many bytes, and its size. Throws {@link OutOfMemoryError}. */
  take(bytes: number): { readonly start: number; readonly size: number } {
    const size = blockSize(bytes);
    if (size > this.#limit) throw this.#full(size);
    const start = this.#find(size) ?? this.#grow(size);
    const found = this.#sizes.get(start) ?? size;
    this.#remove(start, found);
    if (found > size) this.#insert(start + size, found - size);
    return { start, size };
  }

  /** Takes a block back. */
  give(start: number, size: number): void {
    let from = start;
    let length = size;
    const before = this.#starts.get(start);
    if (before !== undefined) {
      length += start - before;
      this.#remove(before, start - before);
      from = before;
    }
    const after = this.#sizes.get(start + size);
    if (after !== undefined) {
      this.#remove(start + size, after);
      length += after;
    }
    this.#insert(from, length);
  }

  /** A free block of at least this size: the smallest of its class that fits, or any of a larger class. */
  #find(size: number): number | undefined {
    for (let index = classOf(size); index < this.#classes.length; index++) {
      let best: number | undefined;
      let bestSize = Infinity;
      for (const start of this.#classes[index] ?? []) {
        const found = this.#sizes.get(start) ?? 0;
        if (found < size || found >= bestSize) continue;
        best = start;
        bestSize = found;
        if (found === size) break;
      }
      if (best !== undefined) return best;
    }
    return undefined;
  }

  /** Grows the memory so that a block of this size is free at its end; its start. */
  #grow(size: number): number {
    const last = this.#starts.get(this.#end);
    const start = last ?? this.#end;
    const least = roundUp(size - (this.#end - start), PAGE);
    const wanted = [Math.max(least, GROWTH), least].filter(
      (bytes) => this.#end + bytes <= this.#limit,
    );
    if (wanted.length === 0) throw this.#full(size);
    const end = this.#end + this.#growBy(wanted, size);
    if (last !== undefined) this.#remove(last, this.#end - last);
    this.#insert(start, end - start);
    this.#end = end;
    return start;
  }

  /** Grows by the first of these numbers that the engine grants. */
  #growBy(wanted: readonly number[], size: number): number {
    let cause: unknown;
    for (const bytes of wanted) {
      try {
        this.#memory.grow(bytes);
        return bytes;
      } catch (error) {
        cause = error;
      }
    }
    throw new OutOfMemoryError(
      `the engine refuses more memory for ${size} bytes; ${this.#end} are taken`,
      size,
      { cause },
    );
  }

  #full(size: number): OutOfMemoryError {
    return new OutOfMemoryError(
      `no room for ${size} bytes: a WebAssembly memory holds ${this.#limit} bytes here, and ` +
        `${this.#end} of them are taken`,
      size,
    );
  }

  #insert(start: number, size: number): void {
    this.#sizes.set(start, size);
    this.#starts.set(start + size, start);
    const index = classOf(size);
    while (this.#classes.length <= index) this.#classes.push(new Set());
    this.#classes[index]?.add(start);
  }

  #remove(start: number, size: number): void {
    this.#sizes.delete(start);
    this.#starts.delete(start + size);
    this.#classes[classOf(size)]?.delete(start);
  }
}

/** Bytes of a block that holds so many: with its margin, up to the next line. */
export function blockSize(bytes: number): number {
  return roundUp(bytes + MARGIN, LINE);
}

/** Blocks of one class differ in size by less than a quarter. */
function classOf(size: number): number {
  const exponent = 31 - Math.clz32(size / LINE);
  const quarter = Math.floor((size / LINE / 2 ** exponent - 1) * 4);
  return exponent * 4 + quarter;
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
