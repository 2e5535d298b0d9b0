import { create } from "@moiety/backend-cpu";
import { UnsupportedError } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Report } from "./report.ts";
import { type RunnerOptions, type TestBody, type TestRunner, runConformance } from "./runner.ts";
import { fakeCase, negates } from "./testing/fake-cases.ts";

const fails = fakeCase("fails", (test) => test.expect(false, "not met"));
const excused = fakeCase("excused", () => {}, { level: "L1", unsupported: () => "a rule" });

/** A runner that keeps what is registered, and then runs it the way a given runner calls tests. */
async function runAs(
  call: (body: TestBody) => Promise<string>,
  options: RunnerOptions,
): Promise<string[]> {
  const before: (() => Promise<void>)[] = [];
  const after: (() => Promise<void>)[] = [];
  const tests: { readonly name: string; readonly body: TestBody }[] = [];
  const groups: string[] = [];
  const runner: TestRunner = {
    describe(name, body) {
      groups.push(name);
      body();
      groups.pop();
    },
    it: (name, body) => tests.push({ name: [...groups.slice(1), name].join(" > "), body }),
    beforeAll: (body) => before.push(body),
    afterAll: (body) => after.push(body),
  };
  runConformance(runner, options);
  for (const body of before) await body();
  const results: string[] = [];
  for (const { name, body } of tests) {
    expect(body.length, "runners pass a callback to functions with parameters").toBe(0);
    const told = await call(body).catch((error: unknown) => `threw ${(error as Error).message}`);
    results.push(`${name}: ${told}`);
  }
  for (const body of after) await body();
  return results;
}

const options = (more: Partial<RunnerOptions> = {}): RunnerOptions => ({
  createBackend: () => create(),
  profile: "full",
  catalogue: [negates, fails, excused],
  ...more,
});

const wanted = [
  "L0 > L0/fake/negates: passed",
  expect.stringMatching(
    /^L0 > L0\/fake\/fails: threw L0\/fake\/fails: fail: not met\n.*the demand of fails\n.*again: moiety conform .*--case 'L0\/fake\/fails'/,
  ),
  "L1 > L0/fake/excused: skipped unsupported: a rule",
];

describe("runConformance", () => {
  it("skips the way vitest and node:test offer it", async () => {
    const told = await runAs(async (body) => {
      let skipped = "";
      await body.call(undefined, { skip: (reason: string) => (skipped = reason) });
      return skipped === "" ? "passed" : `skipped ${skipped}`;
    }, options());
    expect(told).toEqual(wanted);
  });

  it("skips and extends the time limit the way mocha offers it", async () => {
    const limits: number[] = [];
    const told = await runAs(
      async (body) => {
        let skipped = "";
        const context = {
          timeout: (ms: number) => limits.push(ms),
          skip: (reason: string) => (skipped = reason),
        };
        await body.call(context);
        return skipped === "" ? "passed" : `skipped ${skipped}`;
      },
      options({ timeout: 1000 }),
    );
    expect(told).toEqual(wanted);
    expect(limits).toEqual([31_000, 31_000, 31_000]);
  });

  it("hands out the report at the end", async () => {
    const reports: Report[] = [];
    await runAs(
      async (body) => {
        await body.call(undefined);
        return "passed";
      },
      options({ onReport: (report) => void reports.push(report) }),
    );
    expect(reports).toHaveLength(1);
    expect(reports[0]).toMatchObject({
      verdict: "fail",
      counts: { pass: 1, fail: 1, unsupported: 1 },
    });
  });

  it("skips everything without a backend, and fails where it was required", async () => {
    const createBackend = async (): Promise<never> => {
      throw new UnsupportedError("no adapter", "adapter");
    };
    const call = async (body: TestBody): Promise<string> => {
      let skipped = "";
      await body.call(undefined, { skip: (reason: string) => (skipped = reason) });
      return `skipped ${skipped}`;
    };
    const catalogue = [negates];
    expect(await runAs(call, options({ createBackend, catalogue }))).toEqual([
      expect.stringMatching(/skipped precondition: no backend: UnsupportedError: no adapter/),
    ]);
    const required = options({ createBackend, catalogue, requireDevice: true });
    expect(await runAs(call, required)).toEqual([expect.stringMatching(/threw .*no adapter/)]);
  });

  it("refuses nonsense when it registers", () => {
    const runner = { describe, it, beforeAll, afterAll };
    expect(() => runConformance(runner, options({ cases: ["L8/"] }))).toThrow(/no case "L8\/"/);
  });
});

// For real, in this runner: passing and skipped tests.
runConformance(
  { describe, it, beforeAll, afterAll },
  options({ catalogue: [negates, fakeCase("no-device", () => {}, { extension: "device-loss" })] }),
);
