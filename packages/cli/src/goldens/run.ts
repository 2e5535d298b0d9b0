import { type Dirent } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { ConfigError } from "@moiety/core";
import { readCase } from "./case.ts";
import { runInFloat32 } from "./float32.ts";
import type { RunContext } from "./handler.ts";
import { handlerOf } from "./handlers.ts";
import type { Verdict, Worst } from "./ledger.ts";

/** What became of a case. */
export type CaseStatus = "passed" | "failed" | "unsupported";

/** The result of one case. */
export interface CaseResult {
  /** Name of the family's folder. */
  readonly family: string;
  /** Name of the case's folder. */
  readonly case: string;
  readonly status: CaseStatus;
  /** What failed, is not built, or was held to a rule because the source is arbitrary there. */
  readonly detail: string;
  /** The number that came closest to its tolerance, or went furthest beyond it. */
  readonly worst: Worst | null;
  /** Names of the recorded tensors that were compared. */
  readonly compared: readonly string[];
  /** Names of inputs, weights, masks and runs in another precision. */
  readonly skipped: readonly string[];
}

/** The results of a folder. */
export interface GoldenReport {
  readonly passed: number;
  readonly failed: number;
  readonly unsupported: number;
  /** How many of the unsupported are of families and functions that nobody here knows. */
  readonly unknown: number;
  readonly cases: readonly CaseResult[];
}

/** Where a case lies. */
interface CasePlace {
  readonly family: string;
  readonly name: string;
  readonly folder: string;
}

/**
 * Runs every case of a folder `DIR/<family>/<case>/`, one after another. Whatever is wrong with a
 * case fails it and no other.
 *
 * @throws ConfigError where the folder cannot be read or holds no case
 */
export async function runGoldens(
  folder: string,
  context: RunContext,
  tell: (result: CaseResult) => void = () => {},
): Promise<GoldenReport> {
  const cases: CaseResult[] = [];
  let unknown = 0;
  for (const place of await findCases(folder)) {
    const result = await runCase(place, context, () => unknown++);
    tell(result);
    cases.push(result);
  }
  const count = (status: CaseStatus): number =>
    cases.filter((result) => result.status === status).length;
  return {
    passed: count("passed"),
    failed: count("failed"),
    unsupported: count("unsupported"),
    unknown,
    cases,
  };
}

async function findCases(folder: string): Promise<CasePlace[]> {
  const families = await foldersIn(folder);
  const places: CasePlace[] = [];
  for (const family of families) {
    for (const name of await foldersIn(join(folder, family))) {
      places.push({ family, name, folder: join(folder, family, name) });
    }
  }
  if (places.length > 0) return places;
  throw new ConfigError(
    `${folder} holds no case: cases lie in ${join(basename(folder), "FAMILY", "CASE")}, with ` +
      "case.json and tensors.safetensors",
    "DIR",
    folder,
  );
}

async function foldersIn(folder: string): Promise<string[]> {
  let entries: Dirent[];
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(`cannot read ${folder} (${why}); give a folder of cases`, "DIR", folder, {
      cause,
    });
  }
  return entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
    .map((entry) => entry.name)
    .sort();
}

async function runCase(
  place: CasePlace,
  context: RunContext,
  tellUnknown: () => void,
): Promise<CaseResult> {
  const { family, name } = place;
  const result = (
    status: CaseStatus,
    detail: string,
    { worst, compared, skipped }: Pick<Verdict, "worst" | "compared" | "skipped"> = nothing,
  ): CaseResult => ({ family, case: name, status, detail, worst, compared, skipped });
  try {
    const golden = await readCase(place.folder, family, name);
    const choice = handlerOf(golden);
    if ("unsupported" in choice) {
      if (choice.unknown) tellUnknown();
      return result("unsupported", choice.unsupported);
    }
    const verdict =
      context.precision === "f32"
        ? await runInFloat32(choice.run, golden, context.backend)
        : await choice.run(golden, context);
    const detail = [...verdict.failures, ...verdict.notes].join("; ");
    return result(verdict.passed ? "passed" : "failed", detail, verdict);
  } catch (error) {
    return result("failed", describe(error));
  }
}

const nothing: Pick<Verdict, "worst" | "compared" | "skipped"> = {
  worst: null,
  compared: [],
  skipped: [],
};

function describe(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.replaceAll(/\s*\n\s*/g, " ");
}
