import { LEVELS } from "./case.ts";
import { type CaseResult, type Report, type Status, STATUSES, countStatuses } from "./report.ts";

/** A report as text: a table by level and extension, the coverage, and why each case did not pass. */
export function summarize(report: Report): string {
  const { backend, profile, seed, verdict, explanation, warnings, ms } = report;
  if (backend.manifest === null) {
    const reason = report.cases[0]?.reason ?? explanation;
    return `verdict: ${verdict}: ${reason}`;
  }
  const lines = [
    ...table(report.cases),
    "",
    ...report.cases.filter(isWorthALine).flatMap(describeCase),
    ...unsupportedLines(report.cases),
    ...warnings.map((warning) => `warning: ${warning}`),
    `backend ${backend.name}${backend.version === null ? "" : ` ${backend.version}`}, ` +
      `profile ${profile}, seed ${seed}, ${(ms / 1000).toFixed(1)} s`,
    `coverage ${percent(report.coverage)} (${report.counts.pass} of ${report.cases.length} cases pass)`,
    `verdict: ${verdict} (${explanation})`,
  ];
  return lines.join("\n");
}

/** What a case that did not pass is told about, with the line that runs it again. */
export function describeCase({ id, status, reason, repro }: CaseResult): string[] {
  return [`${status}: ${id}: ${reason}`, `  again: ${repro}`];
}

/** A share as a percentage that is 100 % only where all is there. */
export function percent(share: number): string {
  return `${(Math.floor(share * 1000) / 10).toFixed(1)} %`;
}

function isWorthALine({ status }: CaseResult): boolean {
  return status !== "pass" && status !== "unsupported" && status !== "precondition";
}

/** One line for each reason, since a missing kernel excuses many cases. */
function unsupportedLines(cases: readonly CaseResult[]): string[] {
  const counts = new Map<string, number>();
  for (const { status, reason } of cases) {
    if (status !== "unsupported" && status !== "precondition") continue;
    const key = `${status}: ${reason}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map(([key, count]) => `${key} (${count} ${count === 1 ? "case" : "cases"})`);
}

function table(cases: readonly CaseResult[]): string[] {
  const used = STATUSES.filter((status) => cases.some((one) => one.status === status));
  const shown = [...new Set<Status>(["pass", "fail", "unsupported", ...used])];
  const rows = [["level", ...shown, "coverage", "worst error / bound"]];
  for (const level of LEVELS) {
    const here = cases.filter((one) => one.level === level);
    const extensions = new Set(here.map(({ extension }) => extension));
    for (const extension of extensions) {
      const part = here.filter((one) => one.extension === extension);
      rows.push(rowOf(extension === null ? level : `${level} ${extension}`, part, shown));
    }
  }
  rows.push(rowOf("total", cases, shown));
  const widths = rows[0]?.map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const align = (cell: string, column: number): string =>
    column === 0 ? cell.padEnd(widths?.[0] ?? 0) : cell.padStart(widths?.[column] ?? 0);
  return rows.map((row) => row.map(align).join("  ").trimEnd());
}

function rowOf(label: string, cases: readonly CaseResult[], shown: readonly Status[]): string[] {
  const counts = countStatuses(cases);
  const errors = cases.flatMap(({ maxErr }) => (maxErr === null ? [] : [maxErr]));
  return [
    label,
    ...shown.map((status) => `${counts[status]}`),
    percent(cases.length === 0 ? 0 : counts.pass / cases.length),
    errors.length === 0 ? "" : Math.max(...errors).toPrecision(2),
  ];
}
