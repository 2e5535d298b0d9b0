import type { ConformOptions } from "./options.ts";
import type { Report } from "./report.ts";
import { Session } from "./session.ts";

/**
 * Holds a backend to the kit and reports, without a test runner. Whatever is wrong with the backend
 * is in the report; a backend that cannot be made is `precondition` (or `fail`, where it is required).
 *
 * @throws ConfigError for options that make no sense, and for a manifest that contradicts itself
 *
 * @example
 * const report = await conform({ createBackend: create, profile: "inference" });
 * if (report.verdict !== "pass") console.error(summarize(report));
 */
export async function conform(options: ConformOptions): Promise<Report> {
  const session = new Session(options);
  await session.open();
  for (const testCase of session.cases) await session.run(testCase);
  return session.close();
}
