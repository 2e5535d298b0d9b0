import type { Backend } from "@moiety/core";

/** What a run computes on. */
export interface Worker {
  readonly backend: Backend;
  /** Name of the backend, never `auto`. */
  readonly name: string;
  /** What does the work: `wasm, 2 threads, relaxed SIMD`. */
  readonly worker: string;
  /** The same in a line, with why it is not a faster one. */
  readonly line: string;
}

/** What a run asks of whoever opens its backend. */
export interface WorkerChoice {
  /** The name that the options gave, or `auto`, which leaves it to who opens it. */
  readonly name: string;
  readonly threads?: number | undefined;
}

/** The name that leaves the choice of the backend to who opens it. */
export const automatic = "auto";
