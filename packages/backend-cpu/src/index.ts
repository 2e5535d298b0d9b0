/**
 * The oracle: a backend in plain TypeScript, written to be read as the definition of every op.
 * @packageDocumentation
 */
import { type Backend, type CreateBackend, defineBackend } from "@moiety/core";
import { type CpuOptions, cpuDriver } from "./driver.ts";

export { type CpuOptions, cpuDriver } from "./driver.ts";
export type { CpuBuffer } from "./memory.ts";

/**
 * Makes a backend that computes on the CPU, in this thread: float32 with float64 accumulation, or
 * whole in float64. Deterministic to the bit, and a token's bits do not depend on its batch.
 * Rejects with a `ConfigError`.
 */
export const create: CreateBackend<CpuOptions> = async (options): Promise<Backend> =>
  defineBackend(cpuDriver(options));

export default create;
