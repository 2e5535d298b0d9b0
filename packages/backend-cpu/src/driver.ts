import {
  type Capabilities,
  type Driver,
  type DriverStatistics,
  type RunCall,
  type SpecVersion,
  type TensorSpec,
  ConfigError,
  OutOfMemoryError,
  ShapeError,
  UnsupportedError,
  byteLength,
} from "@moiety/core";
import { KernelCall } from "./kernel.ts";
import { KERNELS } from "./kernels.ts";
import { type CpuBuffer, Memory } from "./memory.ts";
import { FORMATS } from "./quantized.ts";
import { Scratch } from "./scratch.ts";

/** Options of the backend. */
export interface CpuOptions {
  /** Bytes that live buffers may take together; unlimited unless given. */
  readonly memoryLimit?: number | undefined;
}

/**
 * The driver behind {@link create}, for those who wrap it. Every call is done when it returns.
 * Throws {@link ConfigError}.
 */
export function cpuDriver(options: CpuOptions = {}): Driver<CpuBuffer> {
  return new CpuDriver(options.memoryLimit);
}

class CpuDriver implements Driver<CpuBuffer> {
  readonly specVersion: SpecVersion = 1;
  readonly name = "cpu";
  readonly capabilities: Capabilities;
  readonly #memory: Memory;
  readonly #scratch = new Scratch();

  constructor(memoryLimit: number | undefined) {
    if (memoryLimit !== undefined && !(memoryLimit > 0)) {
      throw new ConfigError(
        `memoryLimit is ${memoryLimit}, but must be a number of bytes above 0`,
        "memoryLimit",
        memoryLimit,
      );
    }
    this.#memory = new Memory(memoryLimit ?? Number.POSITIVE_INFINITY);
    this.capabilities = {
      dtypes: ["f32", "f64", "i32", "u32", "bool", "f16", "bf16", "u8"],
      ops: Object.keys(KERNELS),
      formats: FORMATS,
      accumulation: { dtype: "f64", order: "index order" },
      determinism: "bitwise",
      batchInvariant: true,
      limits: { totalBytes: memoryLimit },
    };
  }

  allocate(spec: TensorSpec): CpuBuffer {
    return this.#memory.allocate(byteLength(spec));
  }

  write(handle: CpuBuffer, offset: number, bytes: Uint8Array): void {
    this.#assertInside(handle, offset, bytes.byteLength);
    new Uint8Array(handle.block).set(bytes, offset);
  }

  async read(handle: CpuBuffer, offset: number, length: number): Promise<Uint8Array> {
    this.#assertInside(handle, offset, length);
    return new Uint8Array(handle.block.slice(offset, offset + length));
  }

  free(handle: CpuBuffer): void {
    this.#memory.free(handle);
  }

  run(call: RunCall<CpuBuffer>): readonly CpuBuffer[] {
    const name = call.op.name;
    const kernel = Object.hasOwn(KERNELS, name) ? KERNELS[name] : undefined;
    if (kernel === undefined) {
      throw new UnsupportedError(`the cpu backend has no kernel for ${name}`, name, { op: name });
    }
    const prepared = new KernelCall(call, this.#memory, this.#scratch);
    try {
      return kernel(prepared);
    } catch (error) {
      prepared.abandon();
      if (!(error instanceof OutOfMemoryError)) throw error;
      const shapes = call.inputs.map((input) => input?.shape ?? null);
      throw new OutOfMemoryError(`${name}: ${error.message}`, error.bytes, {
        op: name,
        shapes,
        cause: error,
      });
    }
  }

  async sync(): Promise<void> {
    // Every call is done when it returns.
  }

  statistics(): DriverStatistics {
    return this.#memory.statistics();
  }

  dispose(): void {
    this.#memory.dispose();
    this.#scratch.dispose();
  }

  #assertInside(handle: CpuBuffer, offset: number, length: number): void {
    if (offset >= 0 && length >= 0 && offset + length <= handle.byteLength) return;
    throw new ShapeError(
      `bytes ${offset} … ${offset + length} are outside a buffer of ${handle.byteLength} bytes`,
    );
  }
}
