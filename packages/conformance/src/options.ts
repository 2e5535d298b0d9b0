import { type Backend, ConfigError } from "@moiety/core";
import type { ConformanceCase, Profile } from "./case.ts";
import type { ExpectedValues, ReferenceCache } from "./reference.ts";
import type { CaseResult } from "./report.ts";

/** A case that is known to fail on a backend. The list lives in the backend's repository. */
export interface ExpectedFailure {
  /** Of one case. */
  readonly id: string;
  /** What is wrong, for people. */
  readonly reason: string;
  /** Where it is being dealt with. */
  readonly link: string;
}

/** Where a run stands. */
export interface Progress {
  /** Cases that are done. */
  readonly done: number;
  readonly total: number;
  /** The case that begins; absent when one just ended. */
  readonly running?: string | undefined;
  /** The case that just ended. */
  readonly result?: CaseResult | undefined;
}

/** Options of a run. */
export interface ConformOptions {
  /** Makes the backend under test. Called again after a case that broke it. */
  createBackend(): Promise<Backend>;
  /** `inference` unless given. */
  readonly profile?: Profile | undefined;
  /** Whole number from 0; 0x5eed unless given. */
  readonly seed?: number | undefined;
  /** Ids, or beginnings of ids, of the cases to run; all of the profile unless given. */
  readonly cases?: readonly string[] | undefined;
  /** Cases that are known to fail. One that there is not is refused; one that passes is `xpass`. */
  readonly xfail?: readonly ExpectedFailure[] | undefined;
  /** Takes the device away from a backend; without it the device-loss extension is unsupported. */
  readonly loseDevice?: ((backend: Backend) => Promise<void>) | undefined;
  /** A backend that cannot be made is a failure, not a missing precondition. */
  readonly requireDevice?: boolean | undefined;
  /** Milliseconds that one case may take; 60 000 unless given. */
  readonly timeout?: number | undefined;
  /** Keeps what the references computed for later runs; a `Map` will do. */
  readonly references?: ReferenceCache | undefined;
  /** Whose values are expected: `oracle` unless given; `yardstick` to hold the oracle itself. */
  readonly expected?: ExpectedValues | undefined;
  /** Facts for the report: runtime, system, adapter, driver. */
  readonly env?: Readonly<Record<string, string | number | boolean>> | undefined;
  /** Version of the backend's package, for the report. */
  readonly backendVersion?: string | undefined;
  /** The command line that runs exactly this case again, for the report. */
  readonly repro?: ((id: string, seed: number) => string) | undefined;
  /** Told of every case that begins and ends. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** The cases to choose from; the kit's own unless given. */
  readonly catalogue?: readonly ConformanceCase[] | undefined;
  /** Cases of your own, run beside those; their ids must be new. */
  readonly extra?: readonly ConformanceCase[] | undefined;
}

/** The cases to choose from. @throws ConfigError where two have one id */
export function casesOf(
  { extra = [] }: Pick<ConformOptions, "extra">,
  catalogue: readonly ConformanceCase[],
): readonly ConformanceCase[] {
  const all = [...catalogue, ...extra];
  const ids = new Set<string>();
  for (const { id } of all) {
    if (ids.has(id)) throw new ConfigError(`two cases have the id "${id}"`, "extra", id);
    ids.add(id);
  }
  return all;
}

/** Throws {@link ConfigError} for options that make no sense. */
export function checkOptions(
  { seed, timeout, xfail = [] }: ConformOptions,
  catalogue: readonly ConformanceCase[],
): void {
  if (seed !== undefined && !(Number.isSafeInteger(seed) && seed >= 0)) {
    throw new ConfigError(`seed is ${seed}, but must be a whole number from 0`, "seed", seed);
  }
  if (timeout !== undefined && !(timeout > 0 && timeout < 2 ** 31)) {
    const wanted = "milliseconds above 0 and below 2³¹";
    throw new ConfigError(`timeout is ${timeout}, but must be ${wanted}`, "timeout", timeout);
  }
  for (const entry of xfail) {
    const { id, reason, link } = entry;
    if (!catalogue.some((one) => one.id === id)) {
      throw new ConfigError(`xfail names case "${String(id)}", which there is not`, "xfail", entry);
    }
    for (const [key, text] of Object.entries({ reason, link })) {
      if (typeof text === "string" && text.trim() !== "") continue;
      throw new ConfigError(`xfail of ${id} has no ${key}; say what is wrong`, "xfail", entry);
    }
  }
}
