import {
  type DriverStatistics,
  DeviceLostError,
  OutOfMemoryError,
  UseAfterDisposeError,
} from "@moiety/core";
import { type Growable, Heap, PAGE, blockSize } from "./heap.ts";
import { CONTROL_BYTES } from "./library.ts";

/** Pages that a memory has at first. */
const INITIAL_PAGES = 256;
/** Pages that a memory with 32-bit addresses can have; the last is left out, so that ends stay below 2^32. */
const MAXIMUM_PAGES = 65_535;
/** Fewer, where an engine does not set aside so many addresses at once. */
const SMALLER_PAGES = [32_768, 16_384, 8192, 4096];

/**
 * Bytes for what a call needs while it runs, where it is little: that need not be looked for. There
 * are two of them, since the last launch of one call may run while the next is prepared.
 */
const SCRATCH_BYTES = 512 * 1024;

/** A buffer of this backend: bytes in linear memory. */
export class WasmBuffer {
  /** Where it begins, a multiple of 64. */
  readonly address: number;
  readonly byteLength: number;
  /** Bytes of its block. @internal */
  readonly size: number;
  /** Which memory it is in: they are counted. @internal */
  readonly life: number;
  /** What was derived from its content and is kept with it, by name. @internal */
  readonly derived: Map<string, WasmBuffer> = new Map();

  /** @internal */
  constructor(address: number, byteLength: number, size: number, life: number) {
    this.address = address;
    this.byteLength = byteLength;
    this.size = size;
    this.life = life;
  }
}

/** The linear memory of one life of the backend, with the buffers in it. */
export class Memory {
  readonly memory: WebAssembly.Memory;
  readonly life: number;
  /** Bytes that it can have. */
  readonly limitBytes: number;
  readonly #heap: Heap;
  readonly #limit: number;
  readonly #live = new Set<WasmBuffer>();
  /** Live buffers that have derived ones, the longest unused first. */
  readonly #sources = new Set<WasmBuffer>();
  /** Those among them that the current call reads. */
  readonly #pinned = new Set<WasmBuffer>();
  /** Where the scratch of the current call begins. */
  #scratch = CONTROL_BYTES;
  /** Bytes of it that the call has. */
  #scratched = 0;
  /** Whether the call has launched something. */
  #held = false;
  #liveBytes = 0;
  #peakBytes = 0;
  #view: DataView;
  #bytes: Uint8Array;

  /** `limit`: bytes that live buffers may take together. */
  constructor(life: number, shared: boolean, limit: number) {
    this.life = life;
    this.#limit = limit;
    const { memory, pages } = makeMemory(shared);
    this.memory = memory;
    this.limitBytes = pages * PAGE;
    this.#view = new DataView(this.memory.buffer);
    this.#bytes = new Uint8Array(this.memory.buffer);
    const growable: Growable = {
      get byteLength() {
        return memory.buffer.byteLength;
      },
      grow(bytes) {
        memory.grow(bytes / PAGE);
      },
    };
    this.#heap = new Heap(growable, CONTROL_BYTES + 2 * SCRATCH_BYTES, this.limitBytes);
  }

  /** Limits that a module which imports this memory must state. */
  static get pages(): { readonly initialPages: number; readonly maximumPages: number } {
    return { initialPages: INITIAL_PAGES, maximumPages: MAXIMUM_PAGES };
  }

  /** The memory as it is now; it moves when it grows. */
  get view(): DataView {
    if (this.#view.buffer !== this.memory.buffer) this.#view = new DataView(this.memory.buffer);
    return this.#view;
  }

  /** The memory as it is now; it moves when it grows. */
  get bytes(): Uint8Array {
    if (this.#bytes.buffer !== this.memory.buffer) this.#bytes = new Uint8Array(this.memory.buffer);
    return this.#bytes;
  }

  /** A buffer with unspecified content. Throws {@link OutOfMemoryError}. */
  allocate(bytes: number): WasmBuffer {
    if (this.#liveBytes + bytes > this.#limit) {
      throw new OutOfMemoryError(
        `no room for ${bytes} bytes: ${this.#liveBytes} of ${this.#limit} are in use; ` +
          "dispose tensors, open a scope around each step, or raise memoryLimit",
        bytes,
      );
    }
    const buffer = this.#take(bytes);
    this.#live.add(buffer);
    this.#liveBytes += bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return buffer;
  }

  /** Takes a buffer back, with all that was derived from it. */
  free(buffer: WasmBuffer): void {
    if (buffer.life !== this.life) return;
    if (!this.#live.delete(buffer)) {
      throw new UseAfterDisposeError("a buffer was freed twice");
    }
    this.forget(buffer);
    this.#heap.give(buffer.address, buffer.size);
    this.#liveBytes -= buffer.byteLength;
  }

  /** Frees what was derived from a buffer, since its content changes. */
  forget(buffer: WasmBuffer): void {
    for (const derived of buffer.derived.values()) this.#heap.give(derived.address, derived.size);
    buffer.derived.clear();
    this.#sources.delete(buffer);
  }

  /**
   * What was derived from a buffer under this name, made with `fill` where it is missing. It is
   * dropped when the buffer is freed or written, and when memory runs out, though not before
   * {@link endCall}; it does not count as live. The call may not write the buffer afterwards.
   */
  derive(
    buffer: WasmBuffer,
    name: string,
    bytes: number,
    fill: (address: number) => void,
  ): WasmBuffer {
    this.#pinned.add(buffer);
    let derived = buffer.derived.get(name);
    if (derived === undefined) {
      derived = this.#take(bytes);
      try {
        fill(derived.address);
      } catch (error) {
        this.#heap.give(derived.address, derived.size);
        throw error;
      }
      buffer.derived.set(name, derived);
    }
    // The last of the set is the one used last.
    this.#sources.delete(buffer);
    this.#sources.add(buffer);
    return derived;
  }

  /** Address of bytes for the current call; undefined where they are more than is left for it. */
  scratch(bytes: number): number | undefined {
    const start = this.#scratched;
    const end = start + blockSize(bytes);
    if (end > SCRATCH_BYTES) return undefined;
    this.#scratched = end;
    return this.#scratch + start;
  }

  /** The current call has launched something that may outlast it and needs its scratch. */
  hold(): void {
    this.#held = true;
  }

  /** Ends a call: its scratch is given back, and what was derived may be dropped again. */
  endCall(): void {
    this.#scratched = 0;
    if (this.#held) this.#scratch = 2 * CONTROL_BYTES + SCRATCH_BYTES - this.#scratch;
    this.#held = false;
    this.#pinned.clear();
  }

  /** Throws {@link DeviceLostError} for a buffer of an earlier life, and for one that was freed. */
  assertLive(buffer: WasmBuffer): void {
    if (buffer.life !== this.life) {
      throw new DeviceLostError("a buffer of an earlier life was used");
    }
    if (!this.#live.has(buffer)) {
      throw new UseAfterDisposeError("a buffer was used after it was freed");
    }
  }

  statistics(): DriverStatistics {
    return {
      liveBuffers: this.#live.size,
      liveBytes: this.#liveBytes,
      peakBytes: this.#peakBytes,
    };
  }

  #take(bytes: number): WasmBuffer {
    for (;;) {
      try {
        const { start, size } = this.#heap.take(bytes);
        return new WasmBuffer(start, bytes, size, this.life);
      } catch (error) {
        const oldest = [...this.#sources].find((source) => !this.#pinned.has(source));
        if (oldest === undefined) throw error;
        this.forget(oldest);
      }
    }
  }
}

function makeMemory(shared: boolean): {
  readonly memory: WebAssembly.Memory;
  readonly pages: number;
} {
  let cause: unknown;
  for (const pages of [MAXIMUM_PAGES, ...SMALLER_PAGES]) {
    try {
      const limits = { initial: INITIAL_PAGES, maximum: pages, shared };
      return { memory: new WebAssembly.Memory(limits), pages };
    } catch (error) {
      cause = error;
    }
  }
  throw new OutOfMemoryError("the engine refuses a WebAssembly memory", INITIAL_PAGES * PAGE, {
    cause,
  });
}
