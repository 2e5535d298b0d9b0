/**
 * The WebAssembly backend: SIMD kernels that are emitted when it starts, on one thread or several, in
 * Node and in browsers.
 * @packageDocumentation
 */
import { type Backend, type CreateBackend, defineBackend } from "@moiety/core";
import { WasmDriver, wasmDriver } from "./driver.ts";
import type { WasmOptions } from "./options.ts";

export { WasmDriver, wasmDriver } from "./driver.ts";
export type { WasmBuffer } from "./memory.ts";
export type { WasmOptions } from "./options.ts";

/**
 * Makes a backend that computes in WebAssembly, on as many threads as the machine runs at once.
 * Rejects with `ConfigError` for bad options, `UnsupportedError` where the engine lacks what is asked
 * for or worker threads cannot start, and `OutOfMemoryError`.
 */
export const create: CreateBackend<WasmOptions> = async (options): Promise<Backend> =>
  defineBackend(await wasmDriver(options));

export default create;

/** Gives up a backend's threads, as if one had died in a kernel, for tests of what follows. */
export async function loseDevice(backend: Backend): Promise<void> {
  WasmDriver.of(backend.capabilities)?.lose();
}
