/**
 * @typedef {{ status: string, assertionResults: readonly { status: string }[] }} FileReport
 * @typedef {{ testResults: readonly FileReport[] }} Report
 */

/**
 * Counts one by one, for a file that fails while it is loaded has no failed test in vitest's own
 * totals, and neither has an error outside all tests: each of them counts as one failure.
 *
 * @param {Report} report what vitest's JSON reporter wrote
 * @param {number} exitCode how vitest ended
 * @returns {{ passed: number, failed: number }}
 */
export function countTests(report, exitCode) {
  let passed = 0;
  let failed = 0;
  for (const file of report.testResults) {
    const statuses = file.assertionResults.map((result) => result.status);
    const failedHere = statuses.filter((status) => status === "failed").length;
    passed += statuses.filter((status) => status === "passed").length;
    failed += failedHere === 0 && file.status === "failed" ? 1 : failedHere;
  }
  if (failed === 0 && exitCode !== 0) failed = 1;
  return { passed, failed };
}
