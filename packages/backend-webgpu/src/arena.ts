/** Bytes of one dispatch's numbers: WebGPU's default alignment of dynamic offsets. */
export const PARAMS_BYTES = 256;
/** Dispatches in one submit, at most. */
const SLOTS = 1024;
/** While the GPU still reads one buffer the next one is filled. */
const BUFFERS = 4;

/** GPUBufferUsage.UNIFORM | COPY_DST. */
const UNIFORM_USAGE = 0x40 | 0x08;

/** The numbers of the dispatches of one submit, side by side in a uniform buffer. */
export class Arena {
  readonly #device: GPUDevice;
  readonly #buffers: readonly { readonly buffer: GPUBuffer; readonly group: GPUBindGroup }[];
  readonly #bytes = new Uint8Array(SLOTS * PARAMS_BYTES);
  #current = 0;
  #used = 0;

  constructor(device: GPUDevice, layout: GPUBindGroupLayout) {
    this.#device = device;
    this.#buffers = Array.from({ length: BUFFERS }, () => {
      const buffer = device.createBuffer({ size: SLOTS * PARAMS_BYTES, usage: UNIFORM_USAGE });
      const group = device.createBindGroup({
        layout,
        entries: [{ binding: 0, resource: { buffer, size: PARAMS_BYTES } }],
      });
      return { buffer, group };
    });
  }

  /** Whether a submit must come first. */
  get full(): boolean {
    return this.#used === SLOTS;
  }

  /** The bind group of the numbers, at the offset that `add` gave. */
  get group(): GPUBindGroup {
    return (this.#buffers[this.#current] as { group: GPUBindGroup }).group;
  }

  /** Takes numbers in and gives their offset. */
  add(params: Uint8Array): number {
    const offset = this.#used * PARAMS_BYTES;
    this.#bytes.set(params, offset);
    this.#used++;
    return offset;
  }

  /** Sends what was added, before the submit that reads it. */
  upload(): void {
    if (this.#used === 0) return;
    const { buffer } = this.#buffers[this.#current] as { buffer: GPUBuffer };
    this.#device.queue.writeBuffer(buffer, 0, this.#bytes, 0, this.#used * PARAMS_BYTES);
    this.#current = (this.#current + 1) % BUFFERS;
    this.#used = 0;
  }
}
