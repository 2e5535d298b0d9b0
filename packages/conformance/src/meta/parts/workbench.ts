import { type CpuBuffer, cpuDriver } from "@moiety/backend-cpu";
import {
  type Attributes,
  type Backend,
  type Driver,
  type Op,
  type RunCall,
  type RunInput,
  type Tensor,
  byteLength,
  defineBackend,
  defineOp,
} from "@moiety/core";

/** A kernel as a program over tensors: takes the call's inputs, gives outputs in the op's order. */
export type TensorKernel = (
  inputs: readonly (Tensor | undefined)[],
  attributes: Attributes,
) => readonly Tensor[];

/** Hands the bytes of a tensor to the workbench's driver. */
const keep: Op<[x: Tensor]> = /*#__PURE__*/ defineOp({
  name: "meta/keep",
  inputs: ["x"],
  infer: ([x]) => x,
  decompose: ([x]) => x,
});

/**
 * A backend inside a driver: kernels of fused ops are written on it as programs over tensors. It has
 * memory of its own and computes at once, so that bytes can be taken without waiting.
 */
export class Workbench {
  readonly #backend: Backend;
  readonly #kept: Uint8Array[] = [];

  constructor() {
    const honest = cpuDriver();
    const ops = [...honest.capabilities.ops, keep.name];
    const driver: Driver<CpuBuffer> = {
      specVersion: 1,
      name: "workbench",
      capabilities: { ...honest.capabilities, ops },
      allocate: (spec) => honest.allocate(spec),
      write: (handle, offset, bytes) => honest.write(handle, offset, bytes),
      read: (handle, offset, length) => honest.read(handle, offset, length),
      free: (handle) => honest.free(handle),
      run: (call) => (call.op.name === keep.name ? this.#keep(honest, call) : honest.run(call)),
      sync: () => honest.sync(),
      statistics: () => honest.statistics(),
      dispose: () => honest.dispose(),
    };
    this.#backend = defineBackend(driver);
  }

  /** Runs a kernel on copies of a call's inputs; the bytes of each output. */
  run(call: RunCall<CpuBuffer>, kernel: TensorKernel): readonly Uint8Array[] {
    this.#kept.length = 0;
    this.#backend.scope(() => {
      const inputs = call.inputs.map((input) => input && this.#upload(input));
      for (const output of kernel(inputs, call.attributes)) keep(output);
    });
    return [...this.#kept];
  }

  /** Frees everything. */
  async dispose(): Promise<void> {
    await this.#backend.dispose();
  }

  #upload(input: RunInput<CpuBuffer>): Tensor {
    const upload = this.#backend.upload(input);
    upload.write(0, new Uint8Array(input.handle.block, 0, byteLength(input)));
    return upload.finish();
  }

  #keep(honest: Driver<CpuBuffer>, { inputs, outputs }: RunCall<CpuBuffer>): CpuBuffer[] {
    const [input] = inputs;
    if (input) this.#kept.push(new Uint8Array(input.handle.block.slice(0, byteLength(input))));
    return outputs.map((spec) => honest.allocate(spec));
  }
}
