import {
  type Capabilities,
  type Driver,
  type DriverStatistics,
  type RunCall,
  type SpecVersion,
  type TensorSpec,
  UnsupportedError,
} from "@moiety/core";
import { Buffer } from "./buffer.ts";
import { type BoundedArray, type Kernel, KernelCall, Operand } from "./kernel.ts";
import { KERNELS } from "./kernels.ts";
import type { Precision } from "./precision.ts";
import { FORMATS } from "./quantized.ts";

/** Name of the op that gives the bounds of its input. */
export const BOUNDS = "conformance/bounds";

/** The bounds of the input, as a tensor. */
const bounds: Kernel = (call): BoundedArray[] => {
  const x = call.input(0);
  return [{ values: x.bounds ?? new Float64Array(x.size), bounds: undefined }];
};

/** The yardstick's driver: every op by the book, in f64, with bounds. */
export class YardstickDriver implements Driver<Buffer> {
  readonly specVersion: SpecVersion = 1;
  readonly name = "yardstick";
  readonly capabilities: Capabilities = {
    dtypes: ["f32", "f64", "i32", "u32", "bool", "f16", "bf16", "u8"],
    ops: [...Object.keys(KERNELS), BOUNDS],
    formats: FORMATS,
    accumulation: { dtype: "f64", order: "index order" },
    determinism: "bitwise",
    batchInvariant: true,
    limits: {},
  };
  readonly #precision: Precision;
  readonly #live = new Set<Buffer>();
  #liveBytes = 0;
  #peakBytes = 0;

  constructor(precision: Precision) {
    this.#precision = precision;
  }

  allocate(spec: TensorSpec): Buffer {
    return this.#keep(new Buffer(spec));
  }

  write(handle: Buffer, offset: number, bytes: Uint8Array): void {
    handle.write(offset, bytes, this.#precision);
  }

  async read(handle: Buffer, offset: number, length: number): Promise<Uint8Array> {
    return handle.read(offset, length);
  }

  free(handle: Buffer): void {
    if (this.#live.delete(handle)) this.#liveBytes -= handle.byteLength;
  }

  run({ op, inputs, attributes, outputs }: RunCall<Buffer>): readonly Buffer[] {
    const kernel = op.name === BOUNDS ? bounds : KERNELS[op.name];
    if (kernel === undefined) {
      throw new UnsupportedError(`the yardstick has no kernel for ${op.name}`, op.name, {
        op: op.name,
      });
    }
    const operands = inputs.map((input) => input && new Operand(input.handle, input));
    const call = new KernelCall(op.name, this.#precision, operands, attributes, outputs);
    return kernel(call).map((content, index) => this.#keep(new Buffer(call.spec(index), content)));
  }

  async sync(): Promise<void> {
    // Every call is done when it returns.
  }

  statistics(): DriverStatistics {
    return {
      liveBuffers: this.#live.size,
      liveBytes: this.#liveBytes,
      peakBytes: this.#peakBytes,
    };
  }

  dispose(): void {
    this.#live.clear();
    this.#liveBytes = 0;
  }

  #keep(buffer: Buffer): Buffer {
    this.#live.add(buffer);
    this.#liveBytes += buffer.byteLength;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return buffer;
  }
}
