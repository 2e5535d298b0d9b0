import type { MoietyError } from "@moiety/core";
import { type Block, type GpuHandle, sizeClass } from "./memory.ts";
import type { Queue } from "./queue.ts";

/** GPUBufferUsage.MAP_READ | COPY_DST. */
const STAGING_USAGE = 0x01 | 0x08;
/** GPUMapMode.READ. */
const MAP_READ = 0x01;
const WORD = 4;
/** Staging buffers of one size that wait for the next read. */
const KEPT = 4;

/** Brings bytes back to the host; the only place where a buffer is mapped. */
export class Readings {
  readonly #device: GPUDevice;
  readonly #spare = new Map<number, GPUBuffer[]>();
  maps = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Copies bytes of a handle out, in the queue's order. */
  async read(handle: GpuHandle, offset: number, length: number, queue: Queue): Promise<Uint8Array> {
    if (length === 0) {
      // A read comes after everything before it, and brings its failures to light.
      await queue.drained();
      return new Uint8Array(0);
    }
    const start = offset - (offset % WORD);
    const bytes = Math.ceil((offset + length - start) / WORD) * WORD;
    const staging = this.#take(sizeClass(bytes));
    const ticket = { op: "read", handles: [], failed: false };
    const copies: Promise<void>[] = [];
    for (let done = 0; done < bytes;) {
      const at = start + done;
      const place = at % handle.segmentBytes;
      const count = Math.min(bytes - done, handle.segmentBytes - place);
      const source = handle.blocks[Math.floor(at / handle.segmentBytes)] as Block;
      const targetOffset = done;
      copies.push(
        new Promise((resolve, reject) => {
          queue.add({
            kind: "copy",
            source,
            sourceOffset: place,
            target: staging,
            targetOffset,
            bytes: count,
            ticket,
            done: (failure?: MoietyError) => (failure ? reject(failure) : resolve()),
          });
        }),
      );
      done += count;
    }
    queue.flush();
    await Promise.all(copies);
    this.maps++;
    await staging.mapAsync(MAP_READ, 0, bytes);
    const mapped = new Uint8Array(staging.getMappedRange(0, bytes));
    const result = mapped.slice(offset - start, offset - start + length);
    staging.unmap();
    this.#keep(staging);
    return result;
  }

  /** Destroys the staging buffers. */
  dispose(): void {
    for (const buffers of this.#spare.values()) for (const buffer of buffers) buffer.destroy();
    this.#spare.clear();
  }

  #take(bytes: number): GPUBuffer {
    return (
      this.#spare.get(bytes)?.pop() ??
      this.#device.createBuffer({ size: bytes, usage: STAGING_USAGE })
    );
  }

  #keep(buffer: GPUBuffer): void {
    const buffers = this.#spare.get(buffer.size) ?? [];
    this.#spare.set(buffer.size, buffers);
    if (buffers.length < KEPT) buffers.push(buffer);
    else buffer.destroy();
  }
}
