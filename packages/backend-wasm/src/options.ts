import { ConfigError, UnsupportedError } from "@moiety/core";
import type { Features } from "./probe.ts";

/** Options of the backend. */
export interface WasmOptions {
  /**
   * Threads that compute, the caller's included: as many as the machine runs at once unless given,
   * and one where memory cannot be shared. The results do not depend on it.
   */
  readonly threads?: number | undefined;
  /**
   * Rounds every product before it is added, so that results are equal to the bit on all machines,
   * at the price of speed. False unless given: then `relaxed_madd` is used where it computes right.
   */
  readonly exact?: boolean | undefined;
  /**
   * Whether relaxed SIMD may be used: where a self-test proves it right unless given; `true` demands
   * it.
   */
  readonly relaxedSimd?: boolean | undefined;
  /**
   * Bytes that live tensors may take together, packed weights not counted; unlimited (up to 4 GiB)
   * unless given.
   */
  readonly memoryLimit?: number | undefined;
  /** Milliseconds without progress after which worker threads are given up; 10 000 unless given. */
  readonly patience?: number | undefined;
}

/** The options with their defaults, and what the engine allows. */
export interface Settings {
  readonly threads: number;
  /** Why there is one thread where more could have been expected. */
  readonly threadsNote: string | undefined;
  readonly fused: boolean;
  readonly relaxedDot: boolean;
  readonly memoryLimit: number;
  readonly patience: number;
}

/** More than machines with one memory have. */
const MOST_THREADS = 64;
/** Unless asked for, no more threads than this: kernels of small layers do not feed them. */
const DEFAULT_MOST_THREADS = 16;
const PATIENCE = 10_000;

/** Fills in defaults. Throws {@link ConfigError}, and {@link UnsupportedError} for what is not here. */
export function readOptions(options: WasmOptions, features: Features, available: number): Settings {
  const { threads, memoryLimit, patience = PATIENCE, exact = false, relaxedSimd } = options;
  requireThreads(threads);
  requireAbove("memoryLimit", memoryLimit);
  requireAbove("patience", patience);
  requireBoolean("exact", exact);
  requireBoolean("relaxedSimd", relaxedSimd);
  if (!features.simd) {
    throw new UnsupportedError("this engine has no WebAssembly SIMD", "simd");
  }
  if (relaxedSimd === true && !features.relaxedMadd) {
    throw new UnsupportedError(
      "this engine has no relaxed SIMD that computes right",
      "relaxedSimd",
    );
  }
  const alone = !features.sharedMemory;
  const wanted = threads ?? Math.min(available, DEFAULT_MOST_THREADS);
  const relaxed = relaxedSimd !== false;
  return {
    threads: alone ? 1 : wanted,
    threadsNote: alone && wanted > 1 ? "one: this page or engine has no shared memory" : undefined,
    fused: relaxed && !exact && features.relaxedMadd,
    relaxedDot: relaxed && features.relaxedDot,
    memoryLimit: memoryLimit ?? Number.POSITIVE_INFINITY,
    patience,
  };
}

function requireThreads(value: unknown): void {
  if (value === undefined) return;
  if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MOST_THREADS) return;
  throw refused("threads", value, `an integer from 1 to ${MOST_THREADS}`);
}

function requireAbove(key: string, value: unknown): void {
  if (value !== undefined && !(typeof value === "number" && value > 0)) {
    throw refused(key, value, "a number above 0");
  }
}

function requireBoolean(key: string, value: unknown): void {
  if (value !== undefined && typeof value !== "boolean") {
    throw refused(key, value, "true or false");
  }
}

function refused(key: string, value: unknown, demand: string): ConfigError {
  return new ConfigError(`${key} is ${String(value)}, but must be ${demand}`, key, value);
}
