import { type Choices } from "./choices.ts";
import type {
  Attributes,
  Backend,
  BackendStatistics,
  Capabilities,
  Driver,
  ExecutionRecord,
  OpIdentity,
  RunInput,
  SpecVersion,
  TensorData,
  TensorSpec,
  Upload,
} from "./contract.ts";
import { type DType, bytesPerElement } from "./dtype.ts";
import { ConfigError, UnsupportedError, UseAfterDisposeError } from "./errors.ts";
import { FailureLog } from "./failures.ts";
import { type HostData, toHostData } from "./host-data.ts";
import type { OpInputs } from "./op.ts";
import { Scope, assertSynchronous } from "./scope.ts";
import { type Shape, sizeOf } from "./shape.ts";
import { Storage } from "./storage.ts";
import { Tensor, alias, internals } from "./tensor.ts";
import { recordView } from "./trace.ts";

/** The backend that {@link defineBackend} makes of a driver. */
export class Engine implements Backend {
  readonly specVersion: SpecVersion;
  readonly name: string;
  readonly capabilities: Capabilities;
  /** Integers that a running checkpoint keeps or plays back. */
  choices: Choices | undefined = undefined;
  readonly #driver: Driver<unknown>;
  readonly #kernels: ReadonlySet<string>;
  readonly #failures: FailureLog | undefined;
  readonly #record = new Map<string, { kernel: number; decomposed: number }>();
  readonly #storages = new Set<Storage>();
  readonly #scopes: Scope[] = [];
  #liveTensors = 0;
  #refusedDonations = 0;
  #nextStorage = 0;
  #disposed = false;

  constructor(driver: Driver<unknown>) {
    this.specVersion = driver.specVersion;
    this.name = driver.name;
    this.capabilities = driver.capabilities;
    this.#driver = driver;
    this.#kernels = new Set(driver.capabilities.ops);
    if (driver.onFailure) {
      const failures = new FailureLog();
      this.#failures = failures;
      driver.onFailure((failure) => failures.report(failure, this.#storages));
    }
  }

  supports(op: { readonly name: string }): boolean {
    return this.#kernels.has(op.name);
  }

  tensor(
    data: TensorData,
    spec: { readonly shape?: Shape | undefined; readonly dtype?: DType | undefined } = {},
  ): Tensor {
    const host: HostData = toHostData(data, spec);
    const upload = this.upload(host);
    upload.write(0, host.bytes);
    return upload.finish();
  }

  upload(spec: TensorSpec): Upload {
    this.#assertUsable();
    this.#assertDType(spec.dtype);
    const storage = this.#store(this.#driver.allocate(spec), spec);
    return {
      write: (offset, bytes) => this.#driver.write(storage.handle, offset, bytes),
      finish: () => this.#wrap(storage, spec),
    };
  }

  scope<R>(body: () => R): R {
    const scope = this.openScope();
    let result: R | undefined;
    try {
      result = this.within(scope, body);
      assertSynchronous(result);
      return result;
    } catch (error) {
      result = undefined;
      throw error;
    } finally {
      scope.close(result);
    }
  }

  /** The innermost scope. */
  get innermost(): Scope | undefined {
    return this.#scopes.at(-1);
  }

  /** Lets the open scopes inside `floor` hand on what they made instead of freeing it. */
  hold(floor: Scope | undefined): void {
    for (const scope of this.#scopes.slice(floor ? this.#scopes.indexOf(floor) + 1 : 0)) {
      scope.held = true;
    }
  }

  /** A scope that is entered step by step with {@link within} and closed by its owner. */
  openScope(): Scope {
    this.#assertUsable();
    return new Scope(this.#scopes.at(-1));
  }

  /** Runs `body` with `scope` innermost. */
  within<R>(scope: Scope, body: () => R): R {
    this.enter(scope);
    try {
      return body();
    } finally {
      this.leave(scope);
    }
  }

  /** Makes `scope` the innermost one. */
  enter(scope: Scope): void {
    this.#scopes.push(scope);
  }

  /** Ends what {@link enter} began, and anything that was entered inside and not left. */
  leave(scope: Scope): void {
    const index = this.#scopes.lastIndexOf(scope);
    if (index >= 0) this.#scopes.length = index;
  }

  async sync(): Promise<void> {
    this.#assertUsable();
    const mark = this.#failures?.mark();
    await this.#driver.sync();
    this.#failures?.settle(mark);
  }

  statistics(): BackendStatistics {
    return {
      ...this.#driver.statistics(),
      liveTensors: this.#liveTensors,
      refusedDonations: this.#refusedDonations,
    };
  }

  record(): ExecutionRecord {
    return Object.fromEntries([...this.#record].map(([name, entry]) => [name, { ...entry }]));
  }

  resetRecord(): void {
    this.#record.clear();
  }

  async prepare(ops: readonly { readonly identity: OpIdentity }[]): Promise<void> {
    this.#assertUsable();
    await this.#driver.prepare?.(ops.map((op) => op.identity));
  }

  async recover(): Promise<void> {
    this.#assertUsable();
    if (!this.#driver.recover) {
      throw new UnsupportedError(`backend ${this.name} cannot recover a lost device`, "recover");
    }
    await this.#driver.recover();
    this.#failures?.clear();
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#driver.dispose();
  }

  /** Runs the driver's kernel. Inputs are validated and specs inferred. */
  run(
    op: OpIdentity,
    inputs: OpInputs,
    attributes: Attributes,
    outputs: readonly TensorSpec[],
    residuals: readonly TensorSpec[],
  ): readonly Tensor[] {
    this.#assertUsable();
    for (const spec of outputs) this.#assertDType(spec.dtype);
    this.#count(op.name, "kernel");
    const runInputs = inputs.map((input) => input && this.#runInput(input));
    const key = (): string => kernelKey(op, inputs, attributes);
    const handles = this.#driver.run({
      op,
      inputs: runInputs,
      attributes,
      outputs,
      residuals,
      get key() {
        return key();
      },
    });
    const sources: Storage[] = [];
    for (const input of inputs) if (input) sources.push(input[internals].storage);
    const poison = sources.find((source) => source.poison)?.poison;
    const storages = [...outputs, ...residuals].map((spec, index) => {
      const handle = handles[index];
      sources.find((source) => source.handle === handle)?.surrender();
      const storage = this.#store(handle, spec);
      storage.poison = poison;
      return storage;
    });
    this.#failures?.note(sources, storages);
    return storages.map((storage) => this.#wrap(storage, storage.spec));
  }

  /** The same values under another shape, traced where the tensor is. */
  view(tensor: Tensor, shape: Shape): Tensor {
    return recordView(tensor, alias(tensor, undefined, shape));
  }

  /** Counts a call that was taken apart. */
  noteDecomposed(name: string): void {
    this.#count(name, "decomposed");
  }

  /** Reads the first `length` bytes of a storage; rejects when it is poisoned. */
  async readStorage(storage: Storage, length: number): Promise<Uint8Array> {
    this.#assertUsable();
    storage.retain();
    try {
      const mark = this.#failures?.mark();
      const bytes = await this.#driver.read(storage.handle, 0, length);
      if (storage.poison) throw storage.poison;
      this.#failures?.forget(mark);
      return bytes;
    } finally {
      storage.release();
    }
  }

  /** Takes a new tensor into the innermost scope. */
  adopt(tensor: Tensor): void {
    this.#liveTensors++;
    this.#scopes.at(-1)?.add(tensor);
  }

  /** Forgets a disposed tensor. */
  abandon(tensor: Tensor): void {
    this.#liveTensors--;
    tensor[internals].scope?.remove(tensor);
  }

  #runInput(input: Tensor): RunInput<unknown> {
    const { storage, donated } = input[internals];
    const soleHolder = donated && storage.references === 1;
    if (donated && !soleHolder) this.#refusedDonations++;
    return {
      handle: storage.handle,
      shape: input.shape,
      dtype: input.dtype,
      donated: soleHolder,
    };
  }

  #store(handle: unknown, spec: TensorSpec): Storage {
    const storage = new Storage(this.#nextStorage++, handle, spec, (freed) => {
      this.#storages.delete(freed);
      if (!freed.surrendered && !this.#disposed) this.#driver.free(freed.handle);
    });
    this.#storages.add(storage);
    return storage;
  }

  #wrap(storage: Storage, spec: TensorSpec): Tensor {
    return new Tensor([...spec.shape], spec.dtype, {
      engine: this,
      storage,
      source: undefined,
      disposed: false,
      donated: false,
      scope: undefined,
    });
  }

  #count(name: string, how: "kernel" | "decomposed"): void {
    const entry = this.#record.get(name) ?? { kernel: 0, decomposed: 0 };
    entry[how]++;
    this.#record.set(name, entry);
  }

  #assertUsable(): void {
    if (!this.#disposed) return;
    throw new UseAfterDisposeError(`backend ${this.name} was disposed; create another`);
  }

  #assertDType(dtype: DType): void {
    if (this.capabilities.dtypes.includes(dtype)) return;
    throw new UnsupportedError(
      `backend ${this.name} has no ${dtype}; it has ${this.capabilities.dtypes.join(", ")}`,
      dtype,
    );
  }
}

/** Names a kernel: op, dtypes and the attributes that are neither dynamic nor a shape. */
function kernelKey(op: OpIdentity, inputs: OpInputs, attributes: Attributes): string {
  const fixed = Object.entries(attributes)
    .filter(
      ([name, value]) => value !== undefined && name !== "shape" && !op.dynamic.includes(name),
    )
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const dtypes = inputs.map((input) => input?.dtype ?? "-").join(",");
  return `${op.name}(${dtypes})${JSON.stringify(fixed)}`;
}

/** The engine behind a backend. @throws ConfigError when it is no backend of this library. */
export function engineOf(backend: Backend, op?: string): Engine {
  if (backend instanceof Engine) return backend;
  throw new ConfigError(
    `${op ?? "this call"} needs a backend; create one, for example with @moiety/backend-cpu's create()`,
    "backend",
    backend,
    { op },
  );
}

/**
 * Makes a backend of a driver: adds validation, reference counts, scopes, donation, fallback to
 * decompositions, the execution record and use-after-free errors.
 * @throws UnsupportedError when the driver was written for another version of the contract
 */
export function defineBackend<Handle>(driver: Driver<Handle>): Backend {
  if (driver.specVersion !== 1) {
    throw new UnsupportedError(
      `driver ${driver.name} was written for version ${String(driver.specVersion)} of the contract; ` +
        "this library speaks version 1",
      "specVersion",
    );
  }
  return new Engine(driver as Driver<unknown>);
}

/** Bytes of a tensor. */
export function byteLength(spec: TensorSpec): number {
  return sizeOf(spec.shape) * bytesPerElement(spec.dtype);
}
