import type { Backend } from "@moiety/core";
import type { ConformanceCase, Profile } from "./case.ts";
import { requireBackend } from "./backend-check.ts";
import { allCases } from "./catalogue.ts";
import { describeError } from "./failure.ts";
import { requireSoundManifest } from "./manifest.ts";
import { type ConformOptions, casesOf, checkOptions } from "./options.ts";
import { caseSeed } from "./random.ts";
import { References } from "./reference.ts";
import { type CaseResult, type Report, type Status, countStatuses } from "./report.ts";
import { type CaseOutcome, runCase, stillWorks } from "./run-case.ts";
import { excuse, missingDTypes, missingOps, selectCases } from "./select.ts";
import { judgeRun } from "./verdict.ts";
import { kitVersion } from "./version.ts";
import { now } from "./clock.ts";

const DEFAULT_SEED = 0x5eed;
const DEFAULT_TIMEOUT = 60_000;
/** Milliseconds in which a backend must show that a failed case left it usable. */
const PROBE_TIMEOUT = 10_000;

/** One run of the kit on one backend, case by case. */
export class Session {
  /** The cases that were asked for. */
  readonly cases: readonly ConformanceCase[];
  readonly #options: ConformOptions;
  readonly #profile: Profile;
  readonly #seed: number;
  readonly #timeout: number;
  readonly #results: CaseResult[] = [];
  readonly #missing = new Set<string>();
  readonly #start = now();
  #backend: Backend | undefined;
  #references: References | undefined;
  #shown: Report["backend"] = { name: "none", version: null, manifest: null };
  #specVersion: number | null = null;
  #warnings: readonly string[] = [];
  #noBackend = "no backend was made";

  /** @throws ConfigError for options that make no sense */
  constructor(options: ConformOptions) {
    const catalogue = casesOf(options, options.catalogue ?? allCases);
    checkOptions(options, catalogue);
    this.#options = options;
    this.#profile = options.profile ?? "inference";
    this.#seed = options.seed ?? DEFAULT_SEED;
    this.#timeout = options.timeout ?? DEFAULT_TIMEOUT;
    this.cases = selectCases(catalogue, this.#profile, options.cases);
  }

  /**
   * Makes the backend and looks at its manifest. A backend that cannot be made is no error here.
   * @throws ConfigError for what is no backend, and where the manifest contradicts itself
   */
  async open(): Promise<void> {
    const created = await this.#create();
    if (created === undefined) return;
    const backend = requireBackend(created.value);
    const { name, specVersion, capabilities } = backend;
    this.#shown = {
      name,
      version: this.#options.backendVersion ?? null,
      manifest: capabilities,
    };
    this.#specVersion = specVersion;
    try {
      this.#warnings = requireSoundManifest(backend);
    } catch (error) {
      await backend.dispose();
      throw error;
    }
    this.#backend = backend;
    const { expected = "oracle", references } = this.#options;
    this.#references = new References(capabilities, expected, references);
  }

  /** Runs one of the cases. */
  async run(testCase: ConformanceCase): Promise<CaseResult> {
    const { onProgress } = this.#options;
    const total = this.cases.length;
    onProgress?.({ done: this.#results.length, total, running: testCase.id });
    const result = await this.#judge(testCase);
    this.#results.push(result);
    onProgress?.({ done: this.#results.length, total, result });
    return result;
  }

  /** Disposes everything and gives the report of what was run. */
  async close(): Promise<Report> {
    await this.#backend?.dispose();
    await this.#references?.dispose();
    const cases = this.#results;
    const counts = countStatuses(cases);
    const verdict = judgeRun({ counts, missing: [...this.#missing] });
    return {
      kitVersion,
      specVersion: this.#specVersion,
      backend: this.#shown,
      env: this.#options.env ?? {},
      seed: this.#seed,
      profile: this.#profile,
      ...verdict,
      coverage: cases.length === 0 ? 0 : counts.pass / cases.length,
      counts,
      warnings: this.#warnings,
      ms: now() - this.#start,
      cases,
    };
  }

  async #judge(testCase: ConformanceCase): Promise<CaseResult> {
    const { requireDevice, loseDevice } = this.#options;
    const backend = this.#backend;
    if (backend === undefined || this.#references === undefined) {
      return this.#result(testCase, requireDevice ? "fail" : "precondition", this.#noBackend);
    }
    const excused = excuse(testCase, backend, loseDevice !== undefined);
    if (excused !== undefined) {
      for (const name of missingOps(testCase, backend.capabilities)) this.#missing.add(name);
      for (const name of missingDTypes(backend.capabilities)) this.#missing.add(name);
      return this.#result(testCase, "unsupported", excused);
    }
    const outcome = await runCase(
      {
        testCase,
        backend,
        references: this.#references,
        seed: caseSeed(this.#seed, testCase.id),
        createBackend: () => this.#options.createBackend(),
        loseDevice,
      },
      this.#timeout,
    );
    if (outcome.status !== "pass") await this.#renew(backend, outcome);
    return this.#expect(testCase, outcome);
  }

  /** Turns outcomes that the caller expects into `xfail`, and those it does not into `xpass`. */
  #expect(testCase: ConformanceCase, outcome: CaseOutcome): CaseResult {
    const { status, reason } = outcome;
    const entry = this.#options.xfail?.find(({ id }) => id === testCase.id);
    if (entry === undefined || status === "error") {
      return this.#result(testCase, status, reason, outcome);
    }
    return status === "pass"
      ? this.#result(testCase, "xpass", `passes; take it off the xfail list`, outcome)
      : this.#result(testCase, "xfail", `${entry.reason} (${entry.link}): ${reason}`, outcome);
  }

  /** After a case that did not pass: goes on with the backend if it still works, else makes another. */
  async #renew(backend: Backend, { status }: CaseOutcome): Promise<void> {
    if (status !== "timeout" && (await stillWorks(backend, PROBE_TIMEOUT))) return;
    this.#backend = undefined;
    // A backend that hangs may hang here too, so nobody waits for it.
    void backend.dispose().catch(() => undefined);
    const created = await this.#create();
    this.#backend = created && requireBackend(created.value);
  }

  async #create(): Promise<{ readonly value: unknown } | undefined> {
    try {
      return { value: await this.#options.createBackend() };
    } catch (error) {
      this.#noBackend = `no backend: ${describeError(error)}`;
      return undefined;
    }
  }

  #result(
    testCase: ConformanceCase,
    status: Status,
    reason: string,
    outcome?: CaseOutcome,
  ): CaseResult {
    const { id, level, extension = null, demand } = testCase;
    const judgement = outcome?.judgement;
    const { ambiguousTokens = null, ...notes } = Object.fromEntries(outcome?.notes ?? []);
    return {
      id,
      level,
      extension,
      demand,
      status,
      reason,
      ms: outcome?.ms ?? 0,
      maxErr: judgement?.maxErr ?? null,
      p999: judgement?.p999 ?? null,
      budget: judgement?.worst?.bound ?? null,
      worst: judgement?.worst ?? null,
      ambiguousTokens,
      notes: judgement ? { ...notes, ambiguousElements: judgement.ambiguous } : notes,
      repro: this.#repro(id),
    };
  }

  #repro(id: string): string {
    const given = this.#options.repro?.(id, this.#seed);
    if (given !== undefined) return given;
    const backend = this.#shown.name;
    return `moiety conform --backend ${backend} --profile ${this.#profile} --case '${id}' --seed ${this.#seed}`;
  }
}
