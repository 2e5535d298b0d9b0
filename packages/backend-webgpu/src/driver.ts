import {
  type Capabilities,
  type Driver,
  type DriverStatistics,
  type LateFailure,
  type MoietyError,
  type OpIdentity,
  type RunCall,
  type SpecVersion,
  type TensorSpec,
  OutOfMemoryError,
  UnsupportedError,
} from "@moiety/core";
import { type AcquiredDevice, acquireDevice } from "./adapter.ts";
import { capabilitiesOf } from "./capabilities.ts";
import { type Counters, type GpuContext, deviceLost } from "./context.ts";
import { KernelCall } from "./kernel.ts";
import { KERNELS } from "./kernels.ts";
import { DeviceLife } from "./life.ts";
import type { GpuHandle } from "./memory.ts";
import { runSamples } from "./prepare.ts";
import { type Settings, type WebGpuOptions, readOptions } from "./options.ts";

/**
 * Makes the driver behind `create`, for those who wrap it or read its counters.
 * Rejects with `UnsupportedError` or `ConfigError`.
 */
export async function webGpuDriver(options?: WebGpuOptions): Promise<WebGpuDriver> {
  const settings = readOptions(options);
  return new WebGpuDriver(settings, await acquireDevice(settings));
}

/** Under this key, out of sight, the capabilities hold their driver. */
const DRIVER = "~driver";

/** Runs ops on a WebGPU device, and on the next one where the first is lost. */
export class WebGpuDriver implements Driver<GpuHandle> {
  readonly specVersion: SpecVersion = 1;
  readonly name = "webgpu";
  readonly capabilities: Capabilities;
  readonly #settings: Settings;
  #life: DeviceLife;
  #listener: ((failure: LateFailure<GpuHandle>) => void) | undefined;

  /** @internal */
  constructor(settings: Settings, acquired: AcquiredDevice) {
    this.#settings = settings;
    const capabilities = capabilitiesOf(acquired.context, settings);
    this.capabilities = Object.defineProperty(capabilities, DRIVER, { value: this });
    this.#life = this.#begin(acquired, 0);
  }

  /** The driver that states these capabilities, where it is one of this class. */
  static of(capabilities: Capabilities): WebGpuDriver | undefined {
    return (capabilities as { readonly [DRIVER]?: WebGpuDriver })[DRIVER];
  }

  /** The device in use. */
  get device(): GPUDevice {
    return this.#life.context.device;
  }

  /** What kernels know of the device in use. */
  get context(): GpuContext {
    return this.#life.context;
  }

  /** What was done on the device in use. */
  counters(): Counters {
    return this.#life.counters();
  }

  allocate(spec: TensorSpec): GpuHandle {
    return this.#life.allocate(spec);
  }

  write(handle: GpuHandle, offset: number, bytes: Uint8Array): void {
    this.#life.write(handle, offset, bytes);
  }

  read(handle: GpuHandle, offset: number, length: number): Promise<Uint8Array> {
    return this.#life.read(handle, offset, length);
  }

  free(handle: GpuHandle): void {
    this.#life.free(handle);
  }

  run(call: RunCall<GpuHandle>): readonly GpuHandle[] {
    const { name } = call.op;
    const kernel = Object.hasOwn(KERNELS, name) ? KERNELS[name] : undefined;
    if (kernel === undefined) {
      throw new UnsupportedError(`the webgpu backend has no kernel for ${name}`, name, {
        op: name,
      });
    }
    this.#life.assertUsable();
    const prepared = new KernelCall(call, this.#life);
    try {
      const handles = kernel(prepared);
      prepared.finish();
      this.#life.issued(prepared, handles);
      return handles;
    } catch (error) {
      prepared.abandon();
      this.#life.issued(prepared, []);
      throw withCall(error, call);
    }
  }

  sync(): Promise<void> {
    return this.#life.sync();
  }

  statistics(): DriverStatistics {
    return this.#life.statistics();
  }

  /** Compiles the kernels that these ops usually need for f32 tensors. */
  async prepare(ops: readonly OpIdentity[]): Promise<void> {
    runSamples(
      this,
      ops.filter((op) => Object.hasOwn(KERNELS, op.name)),
    );
    await this.#life.settlePipelines();
  }

  onFailure(listener: (failure: LateFailure<GpuHandle>) => void): void {
    this.#listener = listener;
  }

  /** Begins a new life on a new device. Rejects where there is none. */
  async recover(): Promise<void> {
    if (!this.capabilities.recovers) {
      throw new UnsupportedError(
        "this backend was given one device; give it a function that makes devices to recover",
        "recover",
      );
    }
    const acquired = await acquireDevice(this.#settings);
    this.#life.end(deviceLost("replaced by recover()"));
    this.#life = this.#begin(acquired, this.#life.number + 1);
  }

  dispose(): void {
    this.#life.end(deviceLost("the backend was disposed"));
  }

  #begin(acquired: AcquiredDevice, number: number): DeviceLife {
    const report = (error: MoietyError, handles: readonly GpuHandle[]): void =>
      this.#listener?.({ error, handles });
    return new DeviceLife(acquired, this.#settings, number, report);
  }
}

/** Out of memory says of which call. */
function withCall(error: unknown, call: RunCall<GpuHandle>): unknown {
  if (!(error instanceof OutOfMemoryError)) return error;
  const op = call.op.name;
  const shapes = call.inputs.map((input) => input?.shape ?? null);
  return new OutOfMemoryError(`${op}: ${error.message}`, error.bytes, { op, shapes, cause: error });
}
