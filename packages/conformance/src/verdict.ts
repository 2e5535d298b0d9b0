import { type Status, type Verdict } from "./report.ts";

/** What a verdict rests on. */
export interface VerdictGrounds {
  readonly counts: Readonly<Record<Status, number>>;
  /** Names of kernels and dtypes that selected cases require and the backend lacks. */
  readonly missing: readonly string[];
}

/** The verdict of a run and a line that explains it. */
export function judgeRun({ counts, missing }: VerdictGrounds): {
  readonly verdict: Verdict;
  readonly explanation: string;
} {
  const bad = (["fail", "error", "timeout", "xpass"] as const).filter((one) => counts[one] > 0);
  if (bad.length > 0) {
    const list = bad.map((status) => `${counts[status]} ${status}`).join(", ");
    return { verdict: "fail", explanation: list };
  }
  if (counts.precondition > 0) {
    return { verdict: "precondition", explanation: "there was no backend to run on" };
  }
  if (missing.length > 0) {
    return { verdict: "partial", explanation: `the backend lacks ${missing.join(", ")}` };
  }
  if (counts.xfail > 0) {
    return { verdict: "partial", explanation: `${counts.xfail} failed as expected` };
  }
  if (counts.pass === 0) return { verdict: "partial", explanation: "no case passed" };
  const rest = counts.unsupported > 0 ? `; ${counts.unsupported} unsupported` : "";
  return { verdict: "pass", explanation: `${counts.pass} passed${rest}` };
}
