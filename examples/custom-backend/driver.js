/**
 * The driver: what `@moiety/core` asks of a backend, in terms of the heap and the kernels. A handle
 * is an address. Every call is done when it returns.
 */
import {
  ConfigError,
  DeviceLostError,
  UnsupportedError,
  byteLength,
  hostArray,
  sameShape,
  sizeOf,
} from "@moiety/core";
import { ADDRESS_SPACE, Heap } from "./heap.js";
import { IN_PLACE, KERNELS } from "./kernels.js";

/**
 * @typedef {import("@moiety/core").Driver<number>} Driver
 * @typedef {import("@moiety/core").RunCall<number>} RunCall
 * @typedef {import("@moiety/core").TensorSpec} TensorSpec
 */

/**
 * @typedef {object} HeapOptions
 * @property {number} [memoryBytes] bytes that live tensors may take together; 1 GiB unless given
 */

/** @implements {Driver} */
export class HeapDriver {
  specVersion = /** @type {const} */ (1);
  name = "heap";
  #memoryBytes;
  #heap;
  /** Heaps that were lost before this one. */
  #losses = 0;
  #lost = false;

  /** @param {HeapOptions} [options] */
  constructor({ memoryBytes = 2 ** 30 } = {}) {
    if (!(memoryBytes > 0 && memoryBytes <= ADDRESS_SPACE / 2)) {
      const wanted = `above 0 and at most ${ADDRESS_SPACE / 2}`;
      throw new ConfigError(
        `memoryBytes is ${memoryBytes}, but must be ${wanted}`,
        "memoryBytes",
        memoryBytes,
      );
    }
    this.#memoryBytes = memoryBytes;
    this.#heap = new Heap(0, memoryBytes);
    /** @type {import("@moiety/core").Capabilities} */
    this.capabilities = {
      dtypes: ["f32", "i32", "u32", "bool", "u8"],
      ops: Object.keys(KERNELS),
      formats: ["q8_row"],
      accumulation: { dtype: "f32", order: "one sum, in the order of the index" },
      determinism: "bitwise",
      batchInvariant: true,
      limits: { totalBytes: memoryBytes },
      recovers: true,
    };
  }

  /** @param {TensorSpec} spec */
  allocate(spec) {
    this.#requireHeap();
    return this.#heap.allocate(byteLength(spec));
  }

  /**
   * @param {number} handle
   * @param {number} offset
   * @param {Uint8Array} bytes
   */
  write(handle, offset, bytes) {
    this.#requireHeap(handle);
    this.#heap.bytes(handle, offset, bytes.length).set(bytes);
  }

  /**
   * Copies at once, so that what runs while the caller waits changes nothing.
   *
   * @param {number} handle
   * @param {number} offset
   * @param {number} length
   */
  async read(handle, offset, length) {
    this.#requireHeap(handle);
    return this.#heap.bytes(handle, offset, length).slice();
  }

  /** @param {number} handle */
  free(handle) {
    if (this.#isCurrent(handle)) this.#heap.free(handle);
  }

  /** @param {RunCall} call */
  run(call) {
    this.#requireHeap();
    const { name } = call.op;
    const kernel = Object.hasOwn(KERNELS, name) ? KERNELS[name] : undefined;
    if (kernel === undefined) {
      throw new UnsupportedError(`the heap backend has no kernel for ${name}`, name, { op: name });
    }
    const specs = [...call.outputs, ...call.residuals];
    const handles = this.#allocateOutputs(call, specs);
    // Views come after every allocation, because an allocation may move the heap.
    kernel({
      inputs: call.inputs.map((input) => input && this.#operand(input.handle, input)),
      outputs: handles.map((handle, index) => this.#operand(handle, specs[index])),
      attributes: call.attributes,
    });
    return handles;
  }

  async sync() {
    this.#requireHeap();
  }

  statistics() {
    return this.#heap.statistics;
  }

  dispose() {
    this.#heap = new Heap(0, 0);
  }

  /** The heap is gone, with everything in it. */
  lose() {
    this.#lost = true;
  }

  /** Begins with an empty heap, at addresses that were never given out. */
  async recover() {
    if (!this.#lost) return;
    this.#losses++;
    this.#heap = new Heap(this.#losses * ADDRESS_SPACE, this.#memoryBytes);
    this.#lost = false;
  }

  /**
   * An address for each output: that of a donated input where the kernel may write over it.
   *
   * @param {RunCall} call
   * @param {readonly TensorSpec[]} specs
   */
  #allocateOutputs({ op, inputs }, specs) {
    /** @type {number[]} */
    const made = [];
    try {
      return specs.map((spec, index) => {
        const input = index === 0 && IN_PLACE.has(op.name) ? inputs[0] : undefined;
        const fits = input?.donated && sameShape(input.shape, spec.shape);
        if (fits && byteLength(input) === byteLength(spec)) return input.handle;
        const handle = this.#heap.allocate(byteLength(spec));
        made.push(handle);
        return handle;
      });
    } catch (error) {
      for (const handle of made) this.#heap.free(handle);
      throw error;
    }
  }

  /**
   * A tensor's numbers where they lie in the heap.
   *
   * @param {number} handle
   * @param {TensorSpec} spec
   * @returns {import("./kernels.js").Operand}
   */
  #operand(handle, { shape, dtype }) {
    const { buffer, byteOffset } = this.#heap.locate(handle);
    return { data: hostArray(dtype, buffer, byteOffset, sizeOf(shape)), shape, dtype };
  }

  /** @param {number} handle */
  #isCurrent(handle) {
    return Math.floor(handle / ADDRESS_SPACE) === this.#losses;
  }

  /** @param {number} [handle] */
  #requireHeap(handle) {
    if (this.#lost) throw new DeviceLostError("the heap is lost; recover() makes a new one");
    if (handle === undefined || this.#isCurrent(handle)) return;
    throw new DeviceLostError("this tensor was lost with an earlier heap; upload it again");
  }
}
