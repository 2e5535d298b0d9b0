import type { Capabilities } from "@moiety/core";
import type { Extension, Level, Profile } from "./case.ts";
import type { WorstElement } from "./judgement.ts";

/**
 * What became of a case. `pass`; `fail`: the backend does not meet the demand; `unsupported`: its
 * manifest says no (never a pass); `precondition`: there was no backend to run on; `xfail`: failed
 * as the caller expects; `xpass`: expected to fail, but passed; `error`: the kit itself is wrong, or
 * the case's inputs were poor; `timeout`.
 */
export type Status =
  | "pass"
  | "fail"
  | "unsupported"
  | "precondition"
  | "xfail"
  | "xpass"
  | "error"
  | "timeout";

/** The statuses in the order of a report. */
export const STATUSES: readonly Status[] = [
  "pass",
  "fail",
  "unsupported",
  "precondition",
  "xfail",
  "xpass",
  "error",
  "timeout",
];

/**
 * `pass`: nothing failed, and the backend has all that the profile requires. `partial`: nothing
 * failed, but required kernels are missing, failures are expected, or nothing was run. `fail`.
 * `precondition`: there was no backend.
 */
export type Verdict = "pass" | "partial" | "fail" | "precondition";

/** The result of one case. */
export interface CaseResult {
  readonly id: string;
  readonly level: Level;
  readonly extension: Extension | null;
  /** What was demanded of the backend. */
  readonly demand: string;
  readonly status: Status;
  /** Why it did not pass; empty where it did. */
  readonly reason: string;
  readonly ms: number;
  /** Largest |error| / bound over all its outputs; `null` where nothing was compared by bounds. */
  readonly maxErr: number | null;
  /** The 99.9th percentile of |error| / bound in the worst output. */
  readonly p999: number | null;
  /** The allowed absolute error of the worst element. */
  readonly budget: number | null;
  /** The element that came closest to its bound, or went furthest beyond it. */
  readonly worst: WorstElement | null;
  /** Tokens whose routing an honest backend may choose differently; `null` where none was routed. */
  readonly ambiguousTokens: number | null;
  /** Other numbers that the case noted. */
  readonly notes: Readonly<Record<string, number>>;
  /** One command line that runs exactly this case again. */
  readonly repro: string;
}

/** The results of a run. */
export interface Report {
  readonly kitVersion: string;
  /** Version of the contract that the backend implements; `null` when there was no backend. */
  readonly specVersion: number | null;
  readonly backend: {
    readonly name: string;
    readonly version: string | null;
    /** Its capabilities, word for word; `null` when there was no backend. */
    readonly manifest: Capabilities | null;
  };
  /** Where it ran, as the caller tells: runtime, system, adapter, driver. */
  readonly env: Readonly<Record<string, string | number | boolean>>;
  readonly seed: number;
  readonly profile: Profile;
  readonly verdict: Verdict;
  /** One line for people: what the verdict rests on. */
  readonly explanation: string;
  /** Share of the selected cases that passed, 0 … 1. */
  readonly coverage: number;
  readonly counts: Readonly<Record<Status, number>>;
  /** What is odd about the manifest, though no contradiction. */
  readonly warnings: readonly string[];
  readonly ms: number;
  readonly cases: readonly CaseResult[];
}

/** A report as JSON text. Numbers that are not finite become `"NaN"`, `"Infinity"`, `"-Infinity"`. */
export function reportToJson(report: Report, indent?: number): string {
  const replacer = (_: string, value: unknown): unknown =>
    typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
  return JSON.stringify(report, replacer, indent);
}

/** How many cases have each status. */
export function countStatuses(cases: readonly CaseResult[]): Record<Status, number> {
  const counts = Object.fromEntries(STATUSES.map((status) => [status, 0])) as Record<
    Status,
    number
  >;
  for (const { status } of cases) counts[status]++;
  return counts;
}
