import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { findBrowser, runPage } from "./testing/page.ts";

const found = await findBrowser();
const file = (name: string): string => fileURLToPath(new URL(`testing/${name}`, import.meta.url));

describe.skipIf("reason" in found)("WebGPU in a browser", () => {
  it("computes, in a page that is cross-origin isolated", async () => {
    const values = Array.from({ length: 1000 }, (_, index) => (index % 7) - 3);
    const report = await runPage(file("compute-page.ts"), values);
    expect(report).toMatchObject({
      isolated: true,
      computed: values.map((value, index) => 3 * value + index),
    });
    if ("program" in found && found.program.packaged) {
      expect(report).toMatchObject({ adapter: { vendor: "google", architecture: "swiftshader" } });
    }
  });

  it.each([
    ["throws", "thrown in the page"],
    ["logs", "Failed to load resource"],
    ["misuses", "CreateBuffer"],
  ])("fails when the page %s", async (how, message) => {
    await expect(runPage(file("failing-page.ts"), how)).rejects.toThrow(message);
  });

  it("does not wait for ever", async () => {
    const run = runPage(file("failing-page.ts"), "hangs", { timeout: 500 });
    await expect(run).rejects.toThrow("no answer after 500 ms");
  });

  it("hands the console to whoever wants it", async () => {
    const lines: string[] = [];
    const result = await runPage(file("failing-page.ts"), "logs", {
      onConsole: (type, text) => lines.push(`${type}: ${text}`),
    });
    expect(result).toBe("logs");
    expect(lines).toEqual([expect.stringMatching(/^error: Failed to load resource/)]);
  });
});
