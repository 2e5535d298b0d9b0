import { type Report, STATUSES } from "./report.ts";
import { percent } from "./summary.ts";

const COLOURS: Readonly<Record<Report["verdict"], string>> = {
  pass: "brightgreen",
  partial: "yellow",
  fail: "red",
  precondition: "lightgrey",
};

/** A report as Markdown for a README: a badge, and the line that it stands for. */
export function reportToBadge(report: Report): string {
  const { backend, profile, verdict, coverage, counts, kitVersion, seed } = report;
  const label = `moiety conformance: ${profile}`;
  const message = `${verdict}, ${percent(coverage)}`;
  const part = (text: string): string =>
    encodeURIComponent(text.replaceAll("-", "--").replaceAll("_", "__"));
  const image = `https://img.shields.io/badge/${part(label)}-${part(message)}-${COLOURS[verdict]}`;
  const numbers = STATUSES.filter((status) => counts[status] > 0).map(
    (status) => `${counts[status]} ${status}`,
  );
  const version = backend.version === null ? "" : ` ${backend.version}`;
  return [
    `![${label}: ${message}](${image})`,
    "",
    `\`${backend.name}\`${version}, profile \`${profile}\`: **${verdict}**, coverage ` +
      `${percent(coverage)} (${numbers.join(", ")}); @moiety/conformance ${kitVersion}, seed ${seed}.`,
    "",
  ].join("\n");
}
