import type { CaseResult, CaseStatus, GoldenReport } from "./run.ts";

const STATUSES: readonly CaseStatus[] = ["passed", "failed", "unsupported"];

/** A table of passed, failed and unsupported cases per family and in total. */
export function formatReport({ cases }: GoldenReport): string {
  const families = [...new Set(cases.map(({ family }) => family))];
  const rows = families.map((family) =>
    rowOf(
      family,
      cases.filter((one) => one.family === family),
    ),
  );
  const table = [["family", ...STATUSES], ...rows, rowOf("total", cases)];
  const widths = [0, 1, 2, 3].map((column) =>
    Math.max(...table.map((row) => (row[column] ?? "").length)),
  );
  return table
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join("  "),
    )
    .join("\n");
}

/** A line for a case that failed. */
export function formatFailure({ family, case: name, detail }: CaseResult): string {
  return `failed: ${family}/${name}: ${detail}`;
}

/** A line for each reason why cases were not run. */
export function formatUnsupported({ cases }: GoldenReport): string[] {
  const counts = new Map<string, number>();
  for (const { status, detail } of cases) {
    if (status === "unsupported") counts.set(detail, (counts.get(detail) ?? 0) + 1);
  }
  return [...counts].map(
    ([detail, count]) => `unsupported: ${detail} (${count} ${count === 1 ? "case" : "cases"})`,
  );
}

function rowOf(label: string, cases: readonly CaseResult[]): string[] {
  return [
    label,
    ...STATUSES.map((status) => `${cases.filter((one) => one.status === status).length}`),
  ];
}
