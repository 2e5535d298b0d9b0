import { LEVELS } from "./case.ts";
import type { ConformOptions } from "./options.ts";
import type { CaseResult, Report } from "./report.ts";
import { Session } from "./session.ts";

/**
 * What the kit needs of a test runner. Those of vitest and node:test fit as they are; mocha's
 * `before` and `after` go in as `beforeAll` and `afterAll`.
 */
export interface TestRunner {
  /** Registers a group of tests. */
  describe(name: string, body: () => void): unknown;
  /** Registers a test; the timeout is in milliseconds. */
  it(name: string, body: TestBody, timeout?: number): unknown;
  /** Registers what comes before the tests of a group. */
  beforeAll(body: () => Promise<void>): unknown;
  /** Registers what comes after them. */
  afterAll(body: () => Promise<void>): unknown;
}

/** A test's function: the runner's context comes as `this` (mocha) or as an argument (the others). */
export type TestBody = (this: unknown, ...given: unknown[]) => Promise<void>;

/** Options of {@link runConformance}. */
export interface RunnerOptions extends ConformOptions {
  /** Given the report when all tests are done. */
  readonly onReport?: ((report: Report) => void | Promise<void>) | undefined;
}

/** What a failing test throws: one that says how to run exactly it again. */
class ConformanceFailure extends Error {
  override readonly name: string = "ConformanceFailure";
}

/**
 * Registers the kit's cases as tests, one each. A case that passes is a passing test; one that is
 * unsupported, expected to fail, or without a backend to run on is skipped with the reason; all
 * others fail. (In a runner that cannot skip from inside a test such a test ends without a verdict;
 * the report has it.)
 *
 * @throws ConfigError for options that make no sense
 */
export function runConformance(runner: TestRunner, options: RunnerOptions): void {
  const session = new Session(options);
  const timeout = (options.timeout ?? 60_000) + 30_000;
  runner.describe(`conformance, profile ${options.profile ?? "inference"}`, () => {
    runner.beforeAll(() => session.open());
    runner.afterAll(async () => {
      await options.onReport?.(await session.close());
    });
    for (const level of LEVELS) {
      const cases = session.cases.filter((one) => one.level === level);
      if (cases.length === 0) continue;
      runner.describe(level, () => {
        for (const testCase of cases) {
          // Runners look at a function's length: one with parameters would be given a callback.
          const body: TestBody = async function (...given) {
            extendTimeout(this, timeout);
            conclude(await session.run(testCase), [...given, this]);
          };
          runner.it(testCase.id, body, timeout);
        }
      });
    }
  });
}

function conclude(result: CaseResult, contexts: readonly unknown[]): void {
  const { status, reason, id, demand, repro } = result;
  switch (status) {
    case "pass":
      return;
    case "unsupported":
    case "precondition":
    case "xfail":
      skip(contexts, `${status}: ${reason}`);
      return;
    default:
      throw new ConformanceFailure(`${id}: ${status}: ${reason}\n  ${demand}\n  again: ${repro}`);
  }
}

/** Skips the running test the way its runner offers it. */
function skip(contexts: readonly unknown[], reason: string): void {
  for (const context of contexts) {
    if (typeof context !== "object" || context === null) continue;
    if (!("skip" in context) || typeof context.skip !== "function") continue;
    context.skip(reason);
    return;
  }
}

/** Mocha takes a test's time limit from inside. */
function extendTimeout(context: unknown, ms: number): void {
  if (typeof context !== "object" || context === null) return;
  if ("timeout" in context && typeof context.timeout === "function") context.timeout(ms);
}
