import type { CaseResult, Report } from "./report.ts";

/**
 * A report as JUnit XML: one suite a level. `fail`, `timeout` and `xpass` are failures, `error` is an
 * error, and `unsupported`, `precondition` and `xfail` are skipped, with the reason.
 */
export function reportToJUnit(report: Report): string {
  const levels = [...new Set(report.cases.map(({ level }) => level))];
  const suites = levels.map((level) =>
    suite(
      level,
      report.cases.filter((one) => one.level === level),
    ),
  );
  const name = `conformance of ${report.backend.name}, profile ${report.profile}`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="${escape(name)}"${totals(report.cases)}>`,
    ...suites,
    "</testsuites>",
    "",
  ].join("\n");
}

function suite(level: string, cases: readonly CaseResult[]): string {
  const tests = cases.map(testElement);
  return [`  <testsuite name="${level}"${totals(cases)}>`, ...tests, "  </testsuite>"].join("\n");
}

function totals(cases: readonly CaseResult[]): string {
  const count = (kind: string): number => cases.filter((one) => kindOf(one) === kind).length;
  const seconds = cases.reduce((sum, { ms }) => sum + ms, 0) / 1000;
  return (
    ` tests="${cases.length}" failures="${count("failure")}" errors="${count("error")}"` +
    ` skipped="${count("skipped")}" time="${seconds.toFixed(3)}"`
  );
}

function kindOf({ status }: CaseResult): "pass" | "failure" | "error" | "skipped" {
  switch (status) {
    case "pass":
      return "pass";
    case "fail":
    case "timeout":
    case "xpass":
      return "failure";
    case "error":
      return "error";
    default:
      return "skipped";
  }
}

function testElement(result: CaseResult): string {
  const { id, level, status, reason, ms, demand, repro } = result;
  const head = `    <testcase classname="${level}" name="${escape(id)}" time="${(ms / 1000).toFixed(3)}"`;
  const kind = kindOf(result);
  if (kind === "pass") return `${head}/>`;
  const message = escape(`${status}: ${reason}`);
  const inner =
    kind === "skipped"
      ? `<skipped message="${message}"/>`
      : `<${kind} message="${message}" type="${status}">${escape(`${demand}\nagain: ${repro}`)}</${kind}>`;
  return `${head}>\n      ${inner}\n    </testcase>`;
}

/** Text for XML: its special characters by name; those that XML has no place for become U+FFFD. */
function escape(text: string): string {
  const names: Readonly<Record<string, string>> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "\n": "&#10;",
    "\r": "&#13;",
    "\t": "&#9;",
  };
  return (
    text
      // oxlint-disable-next-line no-control-regex -- these are what XML 1.0 cannot hold
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/gu, "\ufffd")
      .replace(/[&<>"\n\r\t]/g, (character) => names[character] ?? character)
  );
}
