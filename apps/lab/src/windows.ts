import { ShapeError } from "@moiety/core";
import type { Domain } from "./domain.ts";

/** Which part of a domain a window lies in. */
export type Part = "training" | "heldOut";

/** A place in a domain from which a sequence is read. */
export interface Window {
  /** Index of the domain. */
  readonly domain: number;
  /** First byte, counted from the start of the part. */
  readonly start: number;
}

/** Sequences of equal length, row after row, and for each byte the one that follows it. */
export interface Batch {
  /** Bytes, `[rows · length]`. */
  readonly inputs: Int32Array;
  /** The byte after each of `inputs`, `[rows · length]`. */
  readonly targets: Int32Array;
  readonly rows: number;
  /** Predictions in a row. */
  readonly length: number;
  /** Index of each row's domain. */
  readonly domains: readonly number[];
}

/** Reads windows of `length + 1` bytes from one part of the domains. */
export function readWindows(
  domains: readonly Domain[],
  part: Part,
  windows: readonly Window[],
  length: number,
): Batch {
  const inputs = new Int32Array(windows.length * length);
  const targets = new Int32Array(windows.length * length);
  for (const [row, { domain, start }] of windows.entries()) {
    const bytes = domains[domain]?.[part];
    if (bytes === undefined || start < 0 || start + length >= bytes.length) {
      throw new ShapeError(`a window at ${start} of domain ${domain} lies outside its text`);
    }
    inputs.set(bytes.subarray(start, start + length), row * length);
    targets.set(bytes.subarray(start + 1, start + length + 1), row * length);
  }
  return {
    inputs,
    targets,
    rows: windows.length,
    length,
    domains: windows.map((window) => window.domain),
  };
}
