import { describe, expect, it } from "vitest";
import { reportToBadge } from "./badge.ts";
import { reportToJUnit } from "./junit.ts";
import { type CaseResult, type Report, type Status, STATUSES, countStatuses } from "./report.ts";
import { percent, summarize } from "./summary.ts";
import { parseXml } from "./testing/xml.ts";

const result = (status: Status, more: Partial<CaseResult> = {}): CaseResult => ({
  id: `L0/x/${status}`,
  level: "L0",
  extension: null,
  demand: 'a < b & "c"',
  status,
  reason: status === "pass" ? "" : `because of <${status}> & more\nin two lines \u0000`,
  ms: 12.3,
  maxErr: null,
  p999: null,
  budget: null,
  worst: null,
  ambiguousTokens: null,
  notes: {},
  repro: `moiety conform --case 'L0/x/${status}'`,
  ...more,
});

function reportOf(cases: readonly CaseResult[], more: Partial<Report> = {}): Report {
  const counts = countStatuses(cases);
  return {
    kitVersion: "1.0.0",
    specVersion: 1,
    backend: { name: "a-b_c", version: "2.0.0", manifest: {} as Report["backend"]["manifest"] },
    env: {},
    seed: 7,
    profile: "full",
    verdict: "fail",
    explanation: "1 fail",
    coverage: counts.pass / cases.length,
    counts,
    warnings: ["odd"],
    ms: 1500,
    cases,
    ...more,
  };
}

const everyStatus = reportOf([
  ...STATUSES.map((status) => result(status)),
  result("pass", { id: "L1/y/z", level: "L1", extension: "grad", maxErr: 0.25 }),
]);

describe("reportToJUnit", () => {
  it("is well-formed and counts as the statuses say", () => {
    const xml = reportToJUnit(everyStatus);
    const root = parseXml(xml);
    expect(root).toMatchObject({
      name: "testsuites",
      attributes: { tests: "9", failures: "3", errors: "1", skipped: "3" },
    });
    const suites = root.children;
    expect(suites.map(({ attributes }) => attributes["name"])).toEqual(["L0", "L1"]);
    const kinds = suites[0]?.children.map(({ attributes, children }) => [
      attributes["name"],
      children[0]?.name,
    ]);
    expect(kinds).toEqual([
      ["L0/x/pass", undefined],
      ["L0/x/fail", "failure"],
      ["L0/x/unsupported", "skipped"],
      ["L0/x/precondition", "skipped"],
      ["L0/x/xfail", "skipped"],
      ["L0/x/xpass", "failure"],
      ["L0/x/error", "error"],
      ["L0/x/timeout", "failure"],
    ]);
    const failure = suites[0]?.children[1]?.children[0];
    expect(failure?.attributes["message"]).toBe(
      "fail: because of <fail> & more\nin two lines \ufffd",
    );
    expect(failure?.text).toBe("a < b & \"c\"\nagain: moiety conform --case 'L0/x/fail'");
  });

  it("is well-formed without cases", () => {
    const root = parseXml(reportToJUnit(reportOf([], { coverage: 0 })));
    expect(root).toMatchObject({ attributes: { tests: "0" }, children: [] });
  });
});

describe("summarize", () => {
  it("shows a table by level, reasons, coverage and verdict", () => {
    const text = summarize(everyStatus);
    expect(
      text
        .split("\n")
        .slice(0, 4)
        .map((line) => line.replaceAll(/ +/g, " ")),
    ).toEqual([
      "level pass fail unsupported precondition xfail xpass error timeout coverage worst error / bound",
      "L0 1 1 1 1 1 1 1 1 12.5 %",
      "L1 grad 1 0 0 0 0 0 0 0 100.0 % 0.25",
      "total 2 1 1 1 1 1 1 1 22.2 % 0.25",
    ]);
    expect(text).toMatch(
      /^fail: L0\/x\/fail: because of .*\n.*\n {2}again: moiety conform --case 'L0\/x\/fail'$/m,
    );
    expect(text).toMatch(/^unsupported: because .*\n.*\(1 case\)$/m);
    expect(text).toMatch(/^warning: odd$/m);
    expect(text).toMatch(
      /backend a-b_c 2\.0\.0, profile full, seed 7, 1\.5 s\ncoverage 22\.2 % \(2 of 9 cases pass\)\nverdict: fail \(1 fail\)$/,
    );
  });

  it("is one line where there was no backend", () => {
    const none = { name: "none", version: null, manifest: null };
    const cases = [result("precondition", { reason: "no backend: no adapter" })];
    const report = reportOf(cases, { backend: none, verdict: "precondition" });
    expect(summarize(report)).toBe("verdict: precondition: no backend: no adapter");
  });

  it("calls only all of them 100 %", () => {
    expect([0, 0.12345, 0.99999, 1].map(percent)).toEqual(["0.0 %", "12.3 %", "99.9 %", "100.0 %"]);
  });
});

describe("reportToBadge", () => {
  it("says verdict and coverage", () => {
    const badge = reportToBadge(everyStatus);
    expect(badge).toContain(
      "![moiety conformance: full: fail, 22.2 %](https://img.shields.io/badge/moiety%20conformance%3A%20full-fail%2C%2022.2%20%25-red)",
    );
    expect(badge).toContain(
      "`a-b_c` 2.0.0, profile `full`: **fail**, coverage 22.2 % (2 pass, 1 fail,",
    );
  });
});
