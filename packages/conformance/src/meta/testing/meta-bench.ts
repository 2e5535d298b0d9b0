import type { ConformanceCase } from "../../case.ts";
import { allCases } from "../../catalogue.ts";
import { conform } from "../../conform.ts";
import type { Reference } from "../../reference.ts";
import type { CaseResult, Report } from "../../report.ts";
import type { Event } from "../parts/base-driver.ts";
import { type BrokenBackend, createUnbroken, loseDevice } from "../parts/broken-backend.ts";

/** At most so many of the cases in which a fault can show are run beside the one that names it. */
const SAMPLE = 80;

/**
 * Which cases are run on a broken backend: every one; all in which the fault can show; or of those an
 * even sample.
 */
export type Extent = "whole" | "touched" | "sample";

/** What a broken backend's run came to. */
export interface Finding {
  readonly report: Report;
  /** The case that must find the fault. */
  readonly named: CaseResult | undefined;
  /**
   * Share of the other cases, those that are not unsupported, that pass: 0 … 1. From a sample it is
   * the share to be expected.
   */
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
 *
 * Some faults can show in nearly every case. How many of the others fail is a share, which an even
 * sample tells as well as all of them: it is taken by place in the list, so that every area is in it.
 * The case that names the fault is always run.
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

  /** The run of a broken backend. */
  async run(broken: BrokenBackend, extent: Extent = "sample"): Promise<Finding> {
    const before = await this.unbroken();
    const { caughtBy } = broken;
    const unsupported = new Set(
      before.cases.filter(({ status }) => status === "unsupported").map(({ id }) => id),
    );
    const others = this.#cases.filter(({ id }) => id !== caughtBy && !unsupported.has(id));
    const touched = extent === "whole" ? others : others.filter((one) => this.#shows(broken, one));
    const chosen = new Set(extent === "sample" ? evenly(touched, SAMPLE) : touched);
    const report = await conform({
      createBackend: () => broken.create(),
      profile: "full",
      catalogue: this.#cases.filter((one) => one.id === caughtBy || chosen.has(one)),
      references: this.#references,
      loseDevice,
    });
    const failing = report.cases
      .filter(({ status }) => status !== "pass" && status !== "unsupported")
      .map(({ id }) => id);
    const failingOthers = failing.filter((id) => id !== caughtBy).length;
    // Of those that were not chosen as many fail as of those that were.
    const expected = chosen.size === 0 ? 0 : (failingOthers / chosen.size) * touched.length;
    return {
      report,
      named: report.cases.find(({ id }) => id === caughtBy),
      othersPassing: 1 - expected / others.length,
      failing,
    };
  }

  /** Whether the fault can show in a case. */
  #shows({ shows }: BrokenBackend, { id }: ConformanceCase): boolean {
    return shows === undefined || shows.some((event) => this.#happened.get(id)?.has(event));
  }
}

/** At most `count` of a list, as far apart as they can be. */
function evenly<Item>(list: readonly Item[], count: number): readonly Item[] {
  if (list.length <= count) return list;
  return Array.from({ length: count }, (_, i) => {
    const place = Math.floor(((i + 0.5) * list.length) / count);
    return list[place] as Item;
  });
}

/** Heavy cases, and those that run one program again and again. */
function isLong({ id, heavy }: ConformanceCase): boolean {
  return heavy === true || id.split("/")[1] === "deterministic";
}
