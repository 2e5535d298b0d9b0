import { fileURLToPath } from "node:url";
import type { Report } from "@moiety/conformance";
import { describe, expect, it } from "vitest";
import { findBrowser, runPage } from "./testing/page.ts";

const found = await findBrowser();
const page = fileURLToPath(new URL("testing/conformance-page.ts", import.meta.url));
/** Software adapters take their time. */
const TIMEOUT = 600_000;

describe.skipIf("reason" in found)("the WebGPU backend in a browser", () => {
  it(
    "passes the kit's training profile, which contains inference",
    async () => {
      const report = (await runPage(page, "training", { timeout: TIMEOUT })) as Report;
      const failures = report.cases.filter(
        ({ status }) => status !== "pass" && status !== "unsupported",
      );
      expect(failures.map(({ id, status, reason }) => `${id}: ${status}: ${reason}`)).toEqual([]);
      expect(report.verdict).toBe("pass");
      expect(report.counts.pass).toBeGreaterThan(200);
    },
    TIMEOUT,
  );
});
