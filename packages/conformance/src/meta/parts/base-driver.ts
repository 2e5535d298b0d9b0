import { type CpuBuffer, cpuDriver } from "@moiety/backend-cpu";
import {
  type AnyOp,
  type AttentionAttributes,
  type Attributes,
  type Capabilities,
  type Driver,
  type DriverStatistics,
  type RunCall,
  type SpecVersion,
  type Tensor,
  type TensorSpec,
  DeviceLostError,
  OutOfMemoryError,
  attention,
  productFormats,
} from "@moiety/core";
import { allOps } from "@moiety/core/ops";
import { logSumExpOf } from "../../cases/attention-residual.ts";
import { type TensorKernel, Workbench } from "./workbench.ts";

/** Bytes of all live tensors. */
const TOTAL_BYTES = 2 ** 30;

/**
 * What may happen in a driver: an op is run (its name), an f64 tensor is made, host data begins or ends
 * within a word, an allocation does not fit, eight reads are under way at once, the device is lost, the
 * backend is disposed.
 */
export type Event = string;

const FUSED: readonly AnyOp[] = allOps.filter(({ identity }) => identity.kernel === "optional");

/**
 * The driver that every broken backend is made of, itself unbroken. It claims more than the oracle
 * beneath it, so that there is more to be wrong: a kernel for every fused op (its decomposition, run
 * inside), a limit to its memory, and a device that can be lost and comes back. It promises the bounds
 * of float32, which it keeps easily, as it sums in float64.
 *
 * Its backward kernels work from inputs alone; residuals are left as zeros, but for that of attention,
 * from which its sinks get their gradient.
 */
export class BaseDriver implements Driver<CpuBuffer> {
  readonly specVersion: SpecVersion = 1;
  readonly name = "base";
  readonly capabilities: Capabilities;
  readonly #honest: Driver<CpuBuffer> = cpuDriver({ memoryLimit: TOTAL_BYTES });
  readonly #bench = new Workbench();
  readonly #live = new Set<CpuBuffer>();
  readonly #dead = new WeakSet<CpuBuffer>();
  readonly #watch: (event: Event) => void;
  #lost = false;
  #reading = 0;

  constructor(watch: (event: Event) => void = () => undefined) {
    this.#watch = watch;
    const { capabilities } = this.#honest;
    this.capabilities = {
      ...capabilities,
      ops: [...capabilities.ops, ...FUSED.map((op) => op.name)],
      formats: [...new Set([...capabilities.formats, ...productFormats])],
      accumulation: { dtype: "f32", order: "index order" },
      recovers: true,
    };
  }

  /** Takes the device away, with all that is on it. */
  lose(): void {
    this.#watch("device lost");
    this.#lost = true;
    for (const handle of this.#live) this.#dead.add(handle);
  }

  allocate(spec: TensorSpec): CpuBuffer {
    this.#assertThere();
    if (spec.dtype === "f64") this.#watch("f64");
    const handle = this.#fitting(() => this.#honest.allocate(spec));
    this.#live.add(handle);
    return handle;
  }

  write(handle: CpuBuffer, offset: number, bytes: Uint8Array): void {
    this.#assertThere(handle);
    if (offset % 4 !== 0 || bytes.byteLength % 4 !== 0) this.#watch("part of a word");
    this.#honest.write(handle, offset, bytes);
  }

  async read(handle: CpuBuffer, offset: number, length: number): Promise<Uint8Array> {
    this.#assertThere(handle);
    if (++this.#reading === 8) this.#watch("eight reads");
    try {
      return await this.#honest.read(handle, offset, length);
    } finally {
      this.#reading--;
    }
  }

  free(handle: CpuBuffer): void {
    this.#live.delete(handle);
    this.#honest.free(handle);
  }

  run(call: RunCall<CpuBuffer>): readonly CpuBuffer[] {
    this.#assertThere(...call.inputs.flatMap((input) => (input ? [input.handle] : [])));
    this.#watch(call.op.name);
    const fused = FUSED.find((op) => op.name === call.op.name);
    const handles = fused
      ? this.runTensors(call, kernelOf(fused, call.residuals.length > 0))
      : this.#fitting(() => this.#honest.run(call));
    for (const handle of handles) this.#live.add(handle);
    return handles;
  }

  /** Runs a kernel that is written over tensors, into new buffers. */
  runTensors(call: RunCall<CpuBuffer>, kernel: TensorKernel): readonly CpuBuffer[] {
    const results = this.#bench.run(call, kernel);
    return [...call.outputs, ...call.residuals].map((spec, index) => {
      const handle = this.allocate(spec);
      const bytes = results[index];
      if (bytes) this.#honest.write(handle, 0, bytes);
      else new Uint8Array(handle.block).fill(0);
      return handle;
    });
  }

  async sync(): Promise<void> {
    this.#assertThere();
    await this.#honest.sync();
  }

  statistics(): DriverStatistics {
    return this.#honest.statistics();
  }

  async recover(): Promise<void> {
    this.#lost = false;
  }

  async dispose(): Promise<void> {
    this.#watch("disposed");
    await this.#honest.dispose();
    await this.#bench.dispose();
  }

  #fitting<Result>(body: () => Result): Result {
    try {
      return body();
    } catch (error) {
      if (error instanceof OutOfMemoryError) this.#watch("out of memory");
      throw error;
    }
  }

  #assertThere(...handles: readonly CpuBuffer[]): void {
    if (!this.#lost && !handles.some((handle) => this.#dead.has(handle))) return;
    throw new DeviceLostError("the device was taken away; call recover() and upload again");
  }
}

/** What the driver runs for a fused op. */
function kernelOf(op: AnyOp, keepsResiduals: boolean): TensorKernel {
  const kernel = decompositionOf(op);
  if (op.name !== attention.name || !keepsResiduals) return kernel;
  return (inputs, attributes) => [
    ...kernel(inputs, attributes),
    residualOfAttention(inputs, attributes),
  ];
}

/** The residual of attention by the book. */
export function residualOfAttention(
  [q, k, , mask, sinks]: readonly (Tensor | undefined)[],
  attributes: Attributes,
): Tensor {
  if (!q || !k) throw new TypeError("attention was called without queries or keys");
  return logSumExpOf({ q, k, mask, sinks }, attributes as unknown as AttentionAttributes);
}

/** The kernel that an op's decomposition is. */
export function decompositionOf({ name, definition }: AnyOp): TensorKernel {
  return (inputs, attributes) => {
    const outputs = definition.decompose?.(inputs, attributes);
    if (outputs === undefined) throw new TypeError(`${name} has no decomposition`);
    return outputs;
  };
}
