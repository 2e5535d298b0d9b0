import type { CpuBuffer } from "@moiety/backend-cpu";
import {
  type Attributes,
  type DType,
  type HostArray,
  type HostArrays,
  type RunCall,
  type Shape,
  type TensorSpec,
  hostArray,
  sizeOf,
} from "@moiety/core";
import type { BaseDriver } from "./base-driver.ts";
import type { TensorKernel } from "./workbench.ts";

/** A buffer's values with their shape. */
export interface Values<A extends HostArray = HostArray> {
  readonly data: A;
  readonly shape: Shape;
  readonly dtype: DType;
  /** Rows along the last axis. */
  readonly rows: number;
  /** Length of the last axis. */
  readonly width: number;
}

/** One call of an op whose kernel is broken, with what a faulty kernel may want. */
export class BrokenCall {
  readonly call: RunCall<CpuBuffer>;
  readonly driver: BaseDriver;

  constructor(call: RunCall<CpuBuffer>, driver: BaseDriver) {
    this.call = call;
    this.driver = driver;
  }

  /** The attributes, as the op defines them. */
  attributes<A>(): A {
    return this.call.attributes as unknown as A;
  }

  /** The right answer, in new buffers; to other attributes if some are given. */
  honest(attributes: Attributes = this.call.attributes): readonly CpuBuffer[] {
    const inputs = this.call.inputs.map((input) => input && { ...input, donated: false });
    const { call, driver } = this;
    const { op, outputs, residuals } = call;
    return driver.run({
      op,
      inputs,
      attributes,
      outputs,
      residuals,
      get key() {
        return call.key;
      },
    });
  }

  /** The right answer, changed in place. */
  changed(
    change: (outputs: readonly Values[], inputs: readonly (Values | undefined)[]) => void,
  ): readonly CpuBuffer[] {
    const handles = this.honest();
    change(
      handles.map((handle, index) => valuesOf(handle, this.#spec(index))),
      this.call.inputs.map((_, index) => this.optional(index)),
    );
    return handles;
  }

  /** What another kernel answers, written over tensors. */
  tensors(kernel: TensorKernel): readonly CpuBuffer[] {
    return this.driver.runTensors(this.call, kernel);
  }

  /** An input's values; `undefined` where it is absent. */
  optional(index: number): Values | undefined {
    const input = this.call.inputs[index];
    return input && valuesOf(input.handle, input);
  }

  /** An input's values. */
  input(index: number): Values {
    const values = this.optional(index);
    if (values) return values;
    throw new TypeError(`${this.call.op.name} was called without input ${index}`);
  }

  /** New buffers for all outputs; their content is unspecified. */
  make(): { readonly handles: readonly CpuBuffer[]; readonly outputs: readonly Values[] } {
    const specs = [...this.call.outputs, ...this.call.residuals];
    const handles = specs.map((spec) => this.driver.allocate(spec));
    return {
      handles,
      outputs: handles.map((handle, index) => valuesOf(handle, this.#spec(index))),
    };
  }

  #spec(index: number): TensorSpec {
    const spec = [...this.call.outputs, ...this.call.residuals][index];
    if (spec) return spec;
    throw new TypeError(`${this.call.op.name} has no output ${index}`);
  }
}

/** The values of a buffer under a shape and dtype. */
function valuesOf<D extends DType>(
  handle: CpuBuffer,
  { shape, dtype }: { readonly shape: Shape; readonly dtype: D },
): Values<HostArrays[D]> {
  const size = sizeOf(shape);
  const width = shape.at(-1) ?? 1;
  const rows = width === 0 ? 0 : size / width;
  return { data: hostArray(dtype, handle.block, 0, size), shape, dtype, rows, width };
}
