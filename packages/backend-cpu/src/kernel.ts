import {
  type Attributes,
  type DType,
  type HostArray,
  type HostArrays,
  type OpIdentity,
  type RunCall,
  type RunInput,
  type Shape,
  type TensorSpec,
  ShapeError,
  byteLength,
  hostArray,
  sizeOf,
} from "@moiety/core";
import type { CpuBuffer, Memory } from "./memory.ts";
import type { Scratch } from "./scratch.ts";

/** Computes one op: reads the call's inputs, returns a buffer for each output. */
export type Kernel = (call: KernelCall) => readonly CpuBuffer[];

/** An input with its values. */
export interface Operand {
  readonly array: HostArray;
  readonly shape: Shape;
  readonly dtype: DType;
}

/** One call, as kernels see it: inputs as typed arrays, and room for outputs. */
export class KernelCall {
  readonly op: OpIdentity;
  readonly outputs: readonly TensorSpec[];
  readonly scratch: Scratch;
  readonly #attributes: Attributes;
  readonly #inputs: readonly (RunInput<CpuBuffer> | undefined)[];
  readonly #memory: Memory;
  readonly #made: CpuBuffer[] = [];

  constructor(call: RunCall<CpuBuffer>, memory: Memory, scratch: Scratch) {
    this.op = call.op;
    this.outputs = call.outputs;
    this.scratch = scratch;
    this.#attributes = call.attributes;
    this.#inputs = call.inputs;
    this.#memory = memory;
  }

  /** How many inputs there are. */
  get inputCount(): number {
    return this.#inputs.length;
  }

  /** The attributes, in the form that the op's `infer` has checked. */
  attributes<A>(): A {
    return this.#attributes as unknown as A;
  }

  /** An input that may be absent. */
  optional(index: number): Operand | undefined {
    const input = this.#inputs[index];
    if (input === undefined) return undefined;
    return { array: viewOf(input.handle, input), shape: input.shape, dtype: input.dtype };
  }

  /** An input that must be there. */
  input(index: number): Operand {
    return this.optional(index) ?? missing(this.op.name, "input", index);
  }

  /** What `infer` said of an output. */
  spec(index: number): TensorSpec {
    return this.outputs[index] ?? missing(this.op.name, "output", index);
  }

  /** A new buffer for an output; its content is unspecified. */
  make(index: number): CpuBuffer {
    const buffer = this.#memory.allocate(byteLength(this.spec(index)));
    this.#made.push(buffer);
    return buffer;
  }

  /**
   * The buffer of the first donated input that has the output's elements and bytes, among the first
   * `among` inputs, or a new one. Right for kernels that read no element after writing its place.
   */
  reuse(index: number, among: number = this.#inputs.length): CpuBuffer {
    const bytes = byteLength(this.spec(index));
    const size = sizeOf(this.spec(index).shape);
    for (const input of this.#inputs.slice(0, among)) {
      // As many bytes alone would let a repeated f64 be overwritten by booleans while it is read.
      if (!input?.donated || sizeOf(input.shape) !== size) continue;
      if (byteLength(input) === bytes && input.handle.byteLength === bytes) return input.handle;
    }
    return this.make(index);
  }

  /** Whether a buffer is that of an input. */
  isInput(index: number, buffer: CpuBuffer): boolean {
    return this.#inputs[index]?.handle === buffer;
  }

  /** An output's values. */
  view(index: number, buffer: CpuBuffer): HostArray {
    return viewOf(buffer, this.spec(index));
  }

  /** Gives back what was made, after a failure. */
  abandon(): void {
    for (const buffer of this.#made) this.#memory.free(buffer);
  }
}

/** A buffer's values under a shape and dtype. */
function viewOf<D extends DType>(
  buffer: CpuBuffer,
  spec: { readonly shape: Shape; readonly dtype: D },
): HostArrays[D] {
  return hostArray(spec.dtype, buffer.block, 0, sizeOf(spec.shape));
}

function missing(op: string, what: string, index: number): never {
  throw new ShapeError(`${op} was called without ${what} ${index}`, { op });
}
