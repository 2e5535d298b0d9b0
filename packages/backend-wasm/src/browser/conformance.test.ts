import { fileURLToPath } from "node:url";
import type { Report } from "@moiety/conformance";
import { describe, expect, it } from "vitest";
import { findBrowser, runPage } from "../../../backend-webgpu/src/browser/testing/page.ts";

const found = await findBrowser();
const page = fileURLToPath(new URL("testing/conformance-page.ts", import.meta.url));
const TIMEOUT = 600_000;

describe.skipIf("reason" in found)("the WASM backend in a browser", () => {
  it(
    "passes the kit's full profile",
    async () => {
      const report = (await runPage(page, "full", { timeout: TIMEOUT })) as Report;
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
