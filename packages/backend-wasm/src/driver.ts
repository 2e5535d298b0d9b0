import {
  type Capabilities,
  type Driver,
  type DriverStatistics,
  type RunCall,
  type SpecVersion,
  type TensorSpec,
  DeviceLostError,
  OutOfMemoryError,
  ShapeError,
  UnsupportedError,
  byteLength,
} from "@moiety/core";
import { capabilitiesOf } from "./capabilities.ts";
import { KernelCall } from "./kernel.ts";
import { KERNELS } from "./kernels.ts";
import { type Life, startLife } from "./life.ts";
import type { WasmBuffer } from "./memory.ts";
import { type Settings, type WasmOptions, readOptions } from "./options.ts";
import { availableThreads } from "./platform.ts";
import { probe } from "./probe.ts";

/**
 * Makes the driver behind `create`, for those who wrap it. Rejects with `ConfigError` for bad options
 * and `UnsupportedError` where the engine cannot do what is asked.
 */
export async function wasmDriver(options: WasmOptions = {}): Promise<WasmDriver> {
  const settings = readOptions(options, probe(), availableThreads());
  return new WasmDriver(settings, await startLife(settings, 0));
}

/** Under this key, out of sight, the capabilities hold their driver. */
const DRIVER = "~driver";

/** Runs ops in WebAssembly: one after another, the last perhaps still when its call returns. */
export class WasmDriver implements Driver<WasmBuffer> {
  readonly specVersion: SpecVersion = 1;
  readonly name = "wasm";
  readonly capabilities: Capabilities;
  readonly #settings: Settings;
  /** Undefined once disposed: then nothing holds the memory. */
  #life: Life | undefined;
  #lives = 1;
  #recovery: Promise<void> | undefined;

  /** @internal */
  constructor(settings: Settings, life: Life) {
    this.#settings = settings;
    this.#life = life;
    const capabilities = capabilitiesOf(settings, life.memory.limitBytes);
    this.capabilities = Object.defineProperty(capabilities, DRIVER, { value: this });
  }

  /** The driver that states these capabilities, where it is one of this class. */
  static of(capabilities: Capabilities): WasmDriver | undefined {
    return (capabilities as { readonly [DRIVER]?: WasmDriver })[DRIVER];
  }

  allocate(spec: TensorSpec): WasmBuffer {
    return this.#well().memory.allocate(byteLength(spec));
  }

  write(handle: WasmBuffer, offset: number, bytes: Uint8Array): void {
    const { memory, team } = this.#well();
    memory.assertLive(handle);
    assertInside(handle, offset, bytes.byteLength);
    memory.forget(handle);
    team.settle();
    memory.bytes.set(bytes, handle.address + offset);
  }

  async read(handle: WasmBuffer, offset: number, length: number): Promise<Uint8Array> {
    const { memory, team } = this.#well();
    memory.assertLive(handle);
    assertInside(handle, offset, length);
    team.settle();
    // A copy of its own: memory may be shared, and what is in it changes.
    const bytes = new Uint8Array(length);
    bytes.set(memory.bytes.subarray(handle.address + offset, handle.address + offset + length));
    return bytes;
  }

  free(handle: WasmBuffer): void {
    this.#life?.memory.free(handle);
  }

  run(call: RunCall<WasmBuffer>): readonly WasmBuffer[] {
    const { name } = call.op;
    const kernel = Object.hasOwn(KERNELS, name) ? KERNELS[name] : undefined;
    if (kernel === undefined) {
      throw new UnsupportedError(`the wasm backend has no kernel for ${name}`, name, { op: name });
    }
    const { memory, host } = this.#well();
    for (const input of call.inputs) if (input) memory.assertLive(input.handle);
    const prepared = new KernelCall(call, host);
    try {
      const handles = kernel(prepared);
      prepared.finish();
      return handles;
    } catch (error) {
      prepared.abandon();
      throw error instanceof OutOfMemoryError ? named(error, call) : error;
    } finally {
      memory.endCall();
    }
  }

  async sync(): Promise<void> {
    this.#well().team.settle();
  }

  statistics(): DriverStatistics {
    return this.#life?.memory.statistics() ?? { liveBuffers: 0, liveBytes: 0, peakBytes: 0 };
  }

  /** Begins with a new memory and new threads. Handles of before are dead. */
  async recover(): Promise<void> {
    this.#recovery ??= this.#begin().finally(() => {
      this.#recovery = undefined;
    });
    return this.#recovery;
  }

  /** Ends the threads and lets go of the memory. */
  async dispose(): Promise<void> {
    const life = this.#life;
    this.#life = undefined;
    await life?.team.stop();
  }

  /** Gives up the threads, as if one had died in the middle of a kernel. */
  lose(): void {
    this.#life?.team.lose("given up on demand");
  }

  async #begin(): Promise<void> {
    await this.#life?.team.stop();
    const life = await startLife(this.#settings, this.#lives++);
    // It may have been disposed meanwhile.
    if (this.#life === undefined) await life.team.stop();
    else this.#life = life;
  }

  /** What runs. Throws {@link DeviceLostError} where nothing does. */
  #well(): Life {
    if (this.#life === undefined) throw new DeviceLostError("the backend was disposed");
    this.#life.team.assertWell();
    return this.#life;
  }
}

/** The error, with the call that had no room. */
function named(error: OutOfMemoryError, call: RunCall<WasmBuffer>): OutOfMemoryError {
  const { name } = call.op;
  const shapes = call.inputs.map((input) => input?.shape ?? null);
  const context = { op: name, shapes, cause: error };
  return new OutOfMemoryError(`${name}: ${error.message}`, error.bytes, context);
}

function assertInside(handle: WasmBuffer, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && offset + length <= handle.byteLength) return;
  throw new ShapeError(
    `bytes ${offset} … ${offset + length} are outside a buffer of ${handle.byteLength} bytes`,
  );
}
