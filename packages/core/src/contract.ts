/**
 * The contract between Moiety and a backend: **all that a backend author must read**.
 *
 * You write a {@link Driver}: an object that allocates, reads and writes buffers and runs ops on
 * them. `defineBackend(driver)` makes a {@link Backend} of it and adds, once for everybody,
 * validation, reference counts, scopes, donation, fallback to decompositions, the execution record
 * and use-after-free errors. Your module's default export is a {@link CreateBackend}. What holds for
 * every op is said at {@link RunCall}.
 */

import type { DType } from "./dtype.ts";
import type { MoietyError } from "./errors.ts";
import type { Shape } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/** Version of this contract. A change that would break a driver raises it. */
export type SpecVersion = 1;

/** Shape and dtype of a tensor. */
export interface TensorSpec {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** Plain data that an op takes beside its tensors. */
export type AttributeValue =
  | string
  | number
  | boolean
  | null
  | undefined
  | readonly AttributeValue[]
  | { readonly [key: string]: AttributeValue };

/** The attributes of one call. */
export type Attributes = { readonly [key: string]: AttributeValue };

/** Which kernels a driver must have: those of its profile; `optional` ops have a decomposition. */
export type KernelClass = "inference" | "training" | "optional";

/** What a driver sees of an op. */
export interface OpIdentity {
  /** Unique name; drivers map it to kernels. */
  readonly name: string;
  /** Names of the inputs in order, `?` behind an optional one; `"variadic"` for any number. */
  readonly inputs: readonly string[] | "variadic";
  /** Names of the outputs in order. */
  readonly outputs: readonly string[];
  /** Which profile requires a kernel of this op. */
  readonly kernel: KernelClass;
  /** Attributes that may change from call to call without a new kernel. */
  readonly dynamic: readonly string[];
}

/** One input of a call. */
export interface RunInput<Handle> {
  readonly handle: Handle;
  readonly shape: Shape;
  readonly dtype: DType;
  /**
   * Permission to write an output into this handle: nothing else holds it. A driver that does so
   * returns the same handle as an output; otherwise core frees it after the call.
   */
  readonly donated: boolean;
}

/**
 * One call of an op.
 *
 * What an op computes is written where it is defined (`@moiety/core/ops` lists them all): `infer`
 * gives the shapes and dtypes of its outputs, its doc comment the values. Ops whose `kernel` is
 * `"inference"` or `"training"` have no decomposition: a driver that runs all ops of a profile is
 * complete for it. Ops whose `kernel` is `"optional"` are fused forms; bring them up when you want
 * speed.
 *
 * Conventions that hold for every op:
 * - Tensors are dense and row-major, with no padding. A `bool` element is one u32 word, 0 or 1.
 * - The call has already been validated: ranks, shapes, dtypes and attributes are right, axes count
 *   from 0, and optional attributes may be absent or `undefined`.
 * - A dimension may be 0, and so may the rank; a kernel writes every element of its outputs, which
 *   hold anything before.
 * - Row and expert ids outside their range mean "nothing" where the op says so.
 * - Ties go to the lower index. NaN ranks below every number in `topK` and `argsort`, and loses to every
 *   number in `max` and `min`.
 * - A driver keeps its own order: a later call sees what an earlier one wrote.
 */
export interface RunCall<Handle> {
  readonly op: OpIdentity;
  /**
   * Names the kernel: op, dtypes and those attributes that are not dynamic. Shapes are not in it,
   * neither those of tensors nor an attribute called `shape`.
   */
  readonly key: string;
  /** In the op's order; an absent optional input is `undefined`. */
  readonly inputs: readonly (RunInput<Handle> | undefined)[];
  readonly attributes: Attributes;
  /** What `infer` gave. */
  readonly outputs: readonly TensorSpec[];
  /** What a fused op's backward wants kept; empty unless a gradient is wanted. */
  readonly residuals: readonly TensorSpec[];
}

/**
 * A failure that shows after `run` returned: a pipeline that did not compile, a lost device. Core
 * makes everything that was computed from these handles reject, also what is run later.
 */
export interface LateFailure<Handle> {
  readonly error: MoietyError;
  /** The handles that the failed call should have written; empty when the whole device is lost. */
  readonly handles: readonly Handle[];
}

/** What a backend can do, as data. The conformance kit holds it to every claim. */
export interface Capabilities {
  /** Dtypes that tensors may have here. */
  readonly dtypes: readonly DType[];
  /** Names of the ops that have a kernel. */
  readonly ops: readonly string[];
  /**
   * Names of the storage formats of weights that `dequantize` and the fused ops take: quantised ones,
   * and `"f16"` where a fused op takes half floats beside f32 activations. A call that holds weights
   * in another format is taken apart.
   */
  readonly formats: readonly string[];
  /** Those that the fused ops take, where they do not take all of `formats`. */
  readonly fusedFormats?: readonly string[] | undefined;
  /** How sums are accumulated: what the kit's bounds of error follow from, and the order in words. */
  readonly accumulation: { readonly dtype: "f16" | "f32" | "f64"; readonly order: string };
  /** `bitwise`: same inputs, shapes and options give the same bits; `run`: within tolerance. */
  readonly determinism: "bitwise" | "run" | "none";
  /** Whether a token gets the same bits whatever else is in the batch. */
  readonly batchInvariant: boolean;
  /** Limits; an absent one is unlimited. */
  readonly limits: {
    /** Bytes of one tensor. */
    readonly bufferBytes?: number | undefined;
    /** Bytes of all live tensors. */
    readonly totalBytes?: number | undefined;
    /** Bytes of the largest piece that a kernel sees at once; larger tensors are held in segments. */
    readonly bindingBytes?: number | undefined;
  };
  /**
   * Whether a lost device shows as `DeviceLostError` and `recover()` brings back a working backend.
   * False unless given.
   */
  readonly recovers?: boolean | undefined;
  /** Sizes at which kernels cut their work, a hint for tests: cases around each are tried. */
  readonly tileSizes?: readonly number[] | undefined;
  /** Anything else worth showing: adapter, driver, threads. Never tested. */
  readonly details?: { readonly [key: string]: string | number | boolean } | undefined;
}

/** What a driver has allocated at this moment. What core freed counts no more, whenever it is reused. */
export interface DriverStatistics {
  readonly liveBuffers: number;
  readonly liveBytes: number;
  readonly peakBytes: number;
}

/**
 * What a backend author writes. `Handle` is whatever the driver likes: an array, a `GPUBuffer`, an
 * address. It names bytes, not a shape; the same handle is used under several shapes of equal size.
 * Core tells handles apart by identity (as a `Map` does), so no two that are alive are equal, not even
 * those of tensors without elements.
 */
export interface Driver<Handle> {
  readonly specVersion: SpecVersion;
  /** Short lower-case name, such as `"cpu"`. */
  readonly name: string;
  readonly capabilities: Capabilities;
  /**
   * Makes a buffer with unspecified content; it may have 0 bytes. The shape is a hint for drivers that
   * split large buffers along axis 0. Throws `OutOfMemoryError`.
   */
  allocate(spec: TensorSpec): Handle;
  /**
   * Copies bytes in, before everything that is run later. `offset` and length are multiples of the
   * element size. The caller may change its array as soon as this returns.
   */
  write(handle: Handle, offset: number, bytes: Uint8Array): void;
  /**
   * Copies `length` bytes out, after everything that was run before. What is run, written or freed
   * while the caller waits changes nothing in them.
   */
  read(handle: Handle, offset: number, length: number): Promise<Uint8Array>;
  /** Gives a buffer back. No later call names it, but work that was not done yet may still need it. */
  free(handle: Handle): void;
  /**
   * Runs one op: allocates and returns a handle for each output and then each residual, at once,
   * though the work may be done later. Throws only on shape, dtype, capability or memory, and
   * `DeviceLostError` (as `allocate` and `write` do) once the loss of the device is known; then it
   * leaves nothing allocated behind.
   */
  run(call: RunCall<Handle>): readonly Handle[];
  /** Resolves when everything that was run is done; rejects if some of it failed. */
  sync(): Promise<void>;
  /** What is allocated at this moment. */
  statistics(): DriverStatistics;
  /** Frees everything. Called once. */
  dispose(): void | Promise<void>;
  /** Compiles kernels ahead of their first use. */
  prepare?(ops: readonly OpIdentity[]): Promise<void>;
  /** Registers the one listener for late failures; each is reported once. */
  onFailure?(listener: (failure: LateFailure<Handle>) => void): void;
  /**
   * Makes the driver usable again after `DeviceLostError`. Old handles stay dead: they may still be
   * freed, and `read` rejects for them with `DeviceLostError`.
   */
  recover?(): Promise<void>;
}

/** The default export of a backend's module. */
export type CreateBackend<Options = undefined> = (options?: Options) => Promise<Backend>;

/** How often an op ran here, and how. */
export interface ExecutionEntry {
  /** Calls that the driver's own kernel ran. */
  readonly kernel: number;
  /** Calls that were taken apart because the driver has no kernel (or no backward of it). */
  readonly decomposed: number;
}

/** Which ops ran since the backend was made or the record was reset, by name. */
export type ExecutionRecord = Readonly<Record<string, ExecutionEntry>>;

/** What a backend holds, and what it did. */
export interface BackendStatistics extends DriverStatistics {
  /** Tensors that have not been disposed, those held by gradient nodes included. */
  readonly liveTensors: number;
  /** Donations that had to copy because something else still held the buffer. */
  readonly refusedDonations: number;
}

/** Host data for a new tensor. */
export type TensorData =
  | number
  | boolean
  | readonly number[]
  | readonly boolean[]
  | Float32Array
  | Float64Array
  | Int32Array
  | Uint32Array
  | Uint16Array
  | Uint8Array;

/** A tensor that is being filled piece by piece, so that large weights need no second copy. */
export interface Upload {
  /** Copies bytes to `offset`. */
  write(offset: number, bytes: Uint8Array): void;
  /** Ends the upload. */
  finish(): Tensor;
}

/** A backend, as users hold it: a value that is passed on, never registered. */
export interface Backend {
  readonly specVersion: SpecVersion;
  readonly name: string;
  readonly capabilities: Capabilities;
  /** Whether the driver has a kernel of this op. */
  supports(op: { readonly name: string }): boolean;
  /**
   * Makes a tensor from host data. The shape is the data's length unless given; the dtype follows
   * the array's class (f32 for plain numbers, bool for booleans) unless given.
   * @throws ShapeError, DTypeError, UnsupportedError
   */
  tensor(
    data: TensorData,
    spec?: { readonly shape?: Shape | undefined; readonly dtype?: DType | undefined },
  ): Tensor;
  /** Begins a tensor that is written piece by piece. */
  upload(spec: TensorSpec): Upload;
  /**
   * Runs `body` and frees every tensor made in it except those in what it returns (searched through
   * arrays, plain objects and maps). Synchronous: a promise or generator result throws `ConfigError`.
   */
  scope<R>(body: () => R): R;
  /** Resolves when all work is done; rejects with the first late failure. */
  sync(): Promise<void>;
  /** What the backend holds at this moment. */
  statistics(): BackendStatistics;
  /** What ran since the last reset. */
  record(): ExecutionRecord;
  /** Empties the execution record. */
  resetRecord(): void;
  /** Compiles kernels of these ops ahead of use, where the driver can. */
  prepare(ops: readonly { readonly name: string; readonly identity: OpIdentity }[]): Promise<void>;
  /** Brings a lost device back. Throws `UnsupportedError` where the driver cannot. */
  recover(): Promise<void>;
  /** Frees everything; idempotent. Later use throws `UseAfterDisposeError`. */
  dispose(): Promise<void>;
}
