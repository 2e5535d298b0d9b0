import type { ConformanceCase } from "../../case.ts";
import { allCases } from "../../catalogue.ts";
import { conform } from "../../conform.ts";
import type { Reference } from "../../reference.ts";
import type { CaseResult, Report } from "../../report.ts";
import type { Event } from "../parts/base-driver.ts";
import { type BrokenBackend, createUnbroken, loseDevice } from "../parts/broken-backend.ts";

/** What a broken backend's run came to. */
export interface Finding {
  readonly report: Report;
  /** The case that must find the fault. */
  readonly named: CaseResult | undefined;
  /** Share of the other cases, those that are not unsupported, that pass: 0 … 1. */
  readonly othersPassing: number;
  /** Ids of the cases that do not pass. */
  readonly failing: readonly string[];
}

/**
 * Runs the kit on backends, broken and not, and computes the references once for all of them.
 *
 * A fault cannot show in a case in which nothing happens that it needs, such as a call of the op whose
 * kernel is broken: there the very code runs that runs on the unbroken backend. Such a case is not run
 * again, but counts as it did there.
 */
export class MetaBench {
  readonly #references = new Map<string, Reference>();
  readonly #happened = new Map<string, Set<Event>>();
  readonly #cases: readonly ConformanceCase[];
  #unbroken: Report | undefined;

  /** `named`: ids of cases that are run though they are long. */
  constructor(named: readonly string[]) {
    this.#cases = allCases.filter((one) => !isLong(one) || named.includes(one.id));
  }

  /** The run of the backend without a fault; run once. */
  async unbroken(): Promise<Report> {
    if (this.#unbroken) return this.#unbroken;
    const collected = this.#happened;
    let happened = new Set<Event>();
    this.#unbroken = await conform({
      createBackend: () => createUnbroken((event) => happened.add(event)),
      profile: "full",
      catalogue: this.#cases,
      references: this.#references,
      loseDevice,
      onProgress({ running }) {
        if (running === undefined) return;
        happened = new Set();
        collected.set(running, happened);
      },
    });
    return this.#unbroken;
  }

  /** The run of a broken backend. `whole`: also cases in which the fault cannot show. */
  async run(broken: BrokenBackend, whole = false): Promise<Finding> {
    const before = await this.unbroken();
    const { shows, caughtBy } = broken;
    const touched =
      whole || shows === undefined
        ? this.#cases
        : this.#cases.filter(
            ({ id }) =>
              id === caughtBy || shows.some((event) => this.#happened.get(id)?.has(event)),
          );
    const report = await conform({
      createBackend: () => broken.create(),
      profile: "full",
      catalogue: touched,
      references: this.#references,
      loseDevice,
    });
    const results = new Map(before.cases.map((one) => [one.id, one]));
    for (const one of report.cases) results.set(one.id, one);
    const others = [...results.values()].filter(
      ({ id, status }) => id !== caughtBy && status !== "unsupported",
    );
    const passing = others.filter(({ status }) => status === "pass");
    return {
      report,
      named: results.get(caughtBy),
      othersPassing: passing.length / others.length,
      failing: report.cases
        .filter(({ status }) => status !== "pass" && status !== "unsupported")
        .map(({ id }) => id),
    };
  }
}

/** Heavy cases, and those that run one program again and again. */
function isLong({ id, heavy }: ConformanceCase): boolean {
  return heavy === true || id.split("/")[1] === "deterministic";
}
