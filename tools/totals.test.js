import { describe, expect, it } from "vitest";
import { countTests } from "./totals.js";

/**
 * @param {string} status
 * @param {string[]} statuses
 */
const file = (status, ...statuses) => ({
  status,
  assertionResults: statuses.map((one) => ({ status: one })),
});

describe("countTests", () => {
  it("counts tests, not files, and leaves out what was skipped", () => {
    const testResults = [
      file("passed", "passed", "passed", "skipped"),
      file("failed", "passed", "failed", "failed"),
    ];
    expect(countTests({ testResults }, 1)).toEqual({ passed: 3, failed: 2 });
  });

  it("counts a file that could not be loaded", () => {
    expect(countTests({ testResults: [file("failed")] }, 1)).toEqual({ passed: 0, failed: 1 });
  });

  it("counts an error outside all tests", () => {
    const testResults = [file("passed", "passed")];
    expect(countTests({ testResults }, 1)).toEqual({ passed: 1, failed: 1 });
    expect(countTests({ testResults }, 0)).toEqual({ passed: 1, failed: 0 });
  });
});
