/**
 * The WebGPU backend: WGSL kernels, in browsers and in Node.
 * @packageDocumentation
 */
import { type Backend, type CreateBackend, defineBackend } from "@moiety/core";
import { WebGpuDriver, webGpuDriver } from "./driver.ts";
import type { WebGpuOptions } from "./options.ts";

export type { Counters, Tiling } from "./context.ts";
export { WebGpuDriver, webGpuDriver } from "./driver.ts";
export type { GpuHandle } from "./memory.ts";
export type { WebGpuOptions } from "./options.ts";

/**
 * Makes a backend on a WebGPU device: the one given, or one of its own from `navigator.gpu` or, in
 * Node, from the package `webgpu`. Rejects with an `UnsupportedError` where there is no adapter or
 * none that is large enough, and with a `ConfigError` for bad options.
 */
export const create: CreateBackend<WebGpuOptions> = async (options): Promise<Backend> => {
  return defineBackend(await webGpuDriver(options));
};

export default create;

/** The driver behind a backend that {@link create} made: its counters, and its device. */
export function driverOf(backend: Backend): WebGpuDriver | undefined {
  return WebGpuDriver.of(backend.capabilities);
}

/** Destroys a backend's device, as a driver crash would, for tests of what follows. */
export async function loseDevice(backend: Backend): Promise<void> {
  const driver = driverOf(backend);
  driver?.device.destroy();
  await driver?.device.lost;
}
