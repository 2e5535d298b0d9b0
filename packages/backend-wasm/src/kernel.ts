import {
  type Attributes,
  type DType,
  type OpIdentity,
  type RunCall,
  type Shape,
  type TensorSpec,
  ShapeError,
  byteLength,
  sizeOf,
} from "@moiety/core";
import type { Instructions } from "./emit/body.ts";
import type { WasmBuffer } from "./memory.ts";
import type { LaunchArguments, Parameters, Routine } from "./routine.ts";

/** Computes one op: returns a buffer for each output, then each residual. */
export type Kernel = (call: KernelCall) => readonly WasmBuffer[];

/** The kernels of some ops, by name, with the routines that they launch. */
export interface KernelSet {
  readonly kernels: Readonly<Record<string, Kernel>>;
  readonly routines: readonly Routine[];
}

/** An input of a call. */
export interface Operand {
  readonly buffer: WasmBuffer;
  /** Where its bytes begin. */
  readonly address: number;
  readonly shape: Shape;
  readonly dtype: DType;
  /** Number of elements. */
  readonly size: number;
}

/** What a call needs of the driver. */
export interface KernelHost {
  readonly instructions: Instructions;
  readonly threads: number;
  /** Memory as it is now, when all launches are done; it moves when something is allocated. */
  readonly view: DataView;
  /** The same while a launch may be under way, for what no launch knows yet. */
  readonly ownView: DataView;
  /** Waits until all launches are done. */
  settle(): void;
  allocate(bytes: number): WasmBuffer;
  free(buffer: WasmBuffer): void;
  /** Address of a few bytes until the call ends; undefined where they are too many. */
  scratch(bytes: number): number | undefined;
  /** Drops what was derived from a buffer, whose content changes. */
  forget(buffer: WasmBuffer): void;
  derive(
    buffer: WasmBuffer,
    name: string,
    bytes: number,
    fill: (address: number) => void,
  ): WasmBuffer;
  launch<P extends Parameters>(routine: Routine<P>, args: LaunchArguments<P>, tasks: number): void;
}

/** One call, as kernels see it. */
export class KernelCall {
  readonly op: OpIdentity;
  /** Outputs, then residuals. */
  readonly specs: readonly TensorSpec[];
  /** Number of outputs; residuals follow them. */
  readonly outputCount: number;
  readonly #call: RunCall<WasmBuffer>;
  readonly #host: KernelHost;
  readonly #made = new Set<WasmBuffer>();
  readonly #temporaries: WasmBuffer[] = [];

  constructor(call: RunCall<WasmBuffer>, host: KernelHost) {
    this.op = call.op;
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

  /** What the library was built with. */
  get instructions(): Instructions {
    return this.#host.instructions;
  }

  /**
   * Memory, for kernels that read or write a few words themselves; ask again after allocating. Waits
   * until all launches are done.
   */
  get view(): DataView {
    return this.#host.view;
  }

  /** Memory, to write to a {@link temporary} before it is given to a launch: waits for nothing. */
  get ownView(): DataView {
    return this.#host.ownView;
  }

  /** The attributes, in the form that the op's `infer` has checked. */
  attributes<A extends object = Attributes>(): A {
    return this.#call.attributes as unknown as A;
  }

  /** An input that may be absent. */
  optional(index: number): Operand | undefined {
    const input = this.#call.inputs[index];
    if (input === undefined) return undefined;
    const { handle, shape, dtype } = input;
    return { buffer: handle, address: handle.address, shape, dtype, size: sizeOf(shape) };
  }

  /** An input that must be there. */
  input(index: number): Operand {
    return this.optional(index) ?? this.#missing("input", index);
  }

  /** What `infer` said of an output or residual. */
  spec(index: number): TensorSpec {
    return this.specs[index] ?? this.#missing("output", index);
  }

  /** Number of elements of an output or residual. */
  outputSize(index: number): number {
    return sizeOf(this.spec(index).shape);
  }

  /** A new buffer for an output or residual; its content is unspecified. */
  make(index: number): WasmBuffer {
    return this.#keep(this.#host.allocate(byteLength(this.spec(index))));
  }

  /**
   * The buffer of a donated input among the first `among` that has the output's dtype and size, or a
   * new one. Right for kernels that read no element after writing its place.
   */
  reuse(index: number, among: number = this.inputCount): WasmBuffer {
    const spec = this.spec(index);
    const size = sizeOf(spec.shape);
    for (const input of this.#call.inputs.slice(0, among)) {
      if (!input?.donated || input.dtype !== spec.dtype || sizeOf(input.shape) !== size) continue;
      if (input.handle.byteLength !== byteLength(spec)) continue;
      this.#host.forget(input.handle);
      return input.handle;
    }
    return this.make(index);
  }

  /** The donated buffer of one input, if it may take an output; what is derived from it is dropped. */
  donated(index: number): WasmBuffer | undefined {
    const input = this.#call.inputs[index];
    if (!input?.donated) return undefined;
    this.#host.forget(input.handle);
    return input.handle;
  }

  /** Address of bytes that are given back after the call. */
  temporary(bytes: number): number {
    const scratch = this.#host.scratch(bytes);
    if (scratch !== undefined) return scratch;
    const buffer = this.#keep(this.#host.allocate(bytes));
    this.#temporaries.push(buffer);
    // It may have been given back by a call whose launch still runs.
    this.#host.settle();
    return buffer.address;
  }

  /** Address of records of u32, for this call: of each the values of these names, in their order. */
  records<Name extends string>(
    names: readonly Name[],
    values: readonly Readonly<Record<Name, number>>[],
  ): number {
    const length = names.length * values.length;
    const address = this.temporary(length * 4);
    const words = new Uint32Array(this.ownView.buffer, address, length);
    let at = 0;
    for (const record of values) for (const name of names) words[at++] = record[name];
    return address;
  }

  /**
   * Address of what is derived from an input's content alone, such as packed weights: made with
   * `fill` at its first use, and kept with the input's buffer. `name` tells all that it depends on.
   */
  derived(input: Operand, name: string, bytes: number, fill: (address: number) => void): number {
    return this.#host.derive(input.buffer, name, bytes, fill).address;
  }

  /**
   * Runs the tasks 0 … `tasks` − 1 of a routine, after those of earlier launches. They may still run
   * when it returns; {@link view} waits for them.
   */
  launch<P extends Parameters>(routine: Routine<P>, args: LaunchArguments<P>, tasks = 1): void {
    if (tasks > 0) this.#host.launch(routine, args, tasks);
  }

  /** Gives temporaries back. */
  finish(): void {
    for (const buffer of this.#temporaries) this.#release(buffer);
  }

  /** Gives everything back, after a failure. */
  abandon(): void {
    for (const buffer of this.#made) this.#release(buffer);
  }

  #keep(buffer: WasmBuffer): WasmBuffer {
    this.#made.add(buffer);
    return buffer;
  }

  #release(buffer: WasmBuffer): void {
    this.#made.delete(buffer);
    this.#host.free(buffer);
  }

  #missing(what: string, index: number): never {
    throw new ShapeError(`${this.op.name} was called without ${what} ${index}`, {
      op: this.op.name,
    });
  }
}
