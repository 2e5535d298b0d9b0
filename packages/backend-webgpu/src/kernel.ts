import {
  type Attributes,
  type DType,
  type OpIdentity,
  type RunCall,
  type RunInput,
  type Shape,
  type TensorSpec,
  ShapeError,
  sizeOf,
} from "@moiety/core";
import { GROUPS_PER_DIMENSION, type GpuContext } from "./context.ts";
import type { GpuHandle } from "./memory.ts";
import { type DispatchRequest, WORKGROUP } from "./program.ts";

/** Issues the dispatches of one op and returns a handle for each output, then each residual. */
export type Kernel = (call: KernelCall) => readonly GpuHandle[];

/** An input of a call. */
export interface Input {
  readonly handle: GpuHandle;
  readonly shape: Shape;
  readonly dtype: DType;
  /** Number of elements. */
  readonly size: number;
  /** Permission to write into it. */
  readonly donated: boolean;
}

/** Workgroups in three dimensions, or how many invocations or groups there must be at least. */
export type Extent =
  | readonly [x: number, y: number, z: number]
  | { readonly invocations: number }
  | { readonly groups: number };

/** What a call needs of the driver. */
export interface KernelHost {
  readonly context: GpuContext;
  allocate(spec: TensorSpec): GpuHandle;
  free(handle: GpuHandle): void;
  dispatch(
    request: DispatchRequest,
    groups: readonly [number, number, number],
    call: KernelCall,
  ): void;
  copy(
    source: GpuHandle,
    sourceOffset: number,
    target: GpuHandle,
    targetOffset: number,
    bytes: number,
    call: KernelCall,
  ): void;
}

/** One call, as kernels see it. */
export class KernelCall {
  readonly op: OpIdentity;
  readonly context: GpuContext;
  /** Outputs, then residuals. */
  readonly specs: readonly TensorSpec[];
  /** Number of outputs; residuals follow them. */
  readonly outputCount: number;
  readonly #call: RunCall<GpuHandle>;
  readonly #host: KernelHost;
  readonly #made = new Set<GpuHandle>();
  readonly #temporaries: GpuHandle[] = [];

  constructor(call: RunCall<GpuHandle>, host: KernelHost) {
    this.op = call.op;
    this.context = host.context;
    this.specs = [...call.outputs, ...call.residuals];
    this.outputCount = call.outputs.length;
    this.#call = call;
    this.#host = host;
  }

  /** How many inputs there are, absent ones included. */
  get inputCount(): number {
    return this.#call.inputs.length;
  }

  /** Whether the backward's residuals are wanted. */
  get keepsResiduals(): boolean {
    return this.#call.residuals.length > 0;
  }

  /** The attributes, in the form that the op's `infer` has checked. */
  attributes<A extends object = Attributes>(): A {
    return this.#call.attributes as unknown as A;
  }

  /** An input that may be absent. */
  optional(index: number): Input | undefined {
    const input: RunInput<GpuHandle> | undefined = this.#call.inputs[index];
    if (input === undefined) return undefined;
    const { handle, shape, dtype, donated } = input;
    return { handle, shape, dtype, donated, size: sizeOf(shape) };
  }

  /** An input that must be there. */
  input(index: number): Input {
    const input = this.optional(index);
    if (input) return input;
    throw new ShapeError(`${this.op.name} was called without input ${index}`, { op: this.op.name });
  }

  /** What `infer` said of an output or residual. */
  spec(index: number): TensorSpec {
    const spec = this.specs[index];
    if (spec) return spec;
    throw new ShapeError(`${this.op.name} has no output ${index}`, { op: this.op.name });
  }

  /** Number of elements of an output. */
  outputSize(index: number): number {
    return sizeOf(this.spec(index).shape);
  }

  /** A new buffer for an output or residual; its content is unspecified. */
  make(index: number): GpuHandle {
    return this.#keep(this.#host.allocate(this.spec(index)));
  }

  /**
   * The buffer of a donated input, to be returned as an output that is written in place, or
   * `undefined` where there is no permission or the sizes differ.
   */
  donated(inputIndex: number, outputIndex: number): GpuHandle | undefined {
    const input = this.optional(inputIndex);
    const spec = this.spec(outputIndex);
    if (!input?.donated || input.dtype !== spec.dtype) return undefined;
    return input.size === sizeOf(spec.shape) ? input.handle : undefined;
  }

  /** A buffer that is given back after the call. */
  temporary(spec: TensorSpec): GpuHandle {
    const handle = this.#keep(this.#host.allocate(spec));
    this.#temporaries.push(handle);
    return handle;
  }

  /** Queues a kernel. Nothing is done where the extent is empty. */
  dispatch(request: DispatchRequest, extent: Extent): void {
    const groups = groupsOf(extent, request.workgroupSize ?? WORKGROUP);
    if (groups.includes(0)) return;
    this.#host.dispatch(request, groups, this);
  }

  /** Queues a copy of bytes; offsets and length are multiples of 4. */
  copy(
    source: GpuHandle,
    sourceOffset: number,
    target: GpuHandle,
    targetOffset: number,
    bytes: number,
  ): void {
    if (bytes > 0) this.#host.copy(source, sourceOffset, target, targetOffset, bytes, this);
  }

  /** What was allocated in this call and is still held. */
  get made(): readonly GpuHandle[] {
    return [...this.#made];
  }

  /** Gives temporaries back. */
  finish(): void {
    for (const handle of this.#temporaries) this.#release(handle);
  }

  /** Gives everything back, after a failure. */
  abandon(): void {
    for (const handle of this.#made) this.#release(handle);
  }

  #keep(handle: GpuHandle): GpuHandle {
    this.#made.add(handle);
    return handle;
  }

  #release(handle: GpuHandle): void {
    this.#made.delete(handle);
    this.#host.free(handle);
  }
}

/**
 * Workgroups for an extent. One dimension holds 65 535, so larger numbers are laid out as a
 * rectangle that may be a little too large: kernels compare `index` (or `group`) with their count.
 */
function groupsOf(extent: Extent, size: number): readonly [number, number, number] {
  if (!("invocations" in extent) && !("groups" in extent)) return extent;
  const count = "groups" in extent ? extent.groups : Math.ceil(extent.invocations / size);
  if (count <= GROUPS_PER_DIMENSION) return [count, count === 0 ? 0 : 1, 1];
  const rows = Math.ceil(count / GROUPS_PER_DIMENSION);
  return [Math.ceil(count / rows), rows, 1];
}
