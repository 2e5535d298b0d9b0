import { create } from "@moiety/backend-cpu";
import { describe, expect, it } from "vitest";
import { allCases } from "../catalogue.ts";
import { conform } from "../conform.ts";
import { summarize } from "../summary.ts";

describe("L0", () => {
  it("is passed by the oracle, held to the yardstick", async () => {
    const report = await conform({
      createBackend: () => create({ memoryLimit: 2 ** 30 }),
      profile: "full",
      cases: ["L0/"],
      expected: "yardstick",
    });
    expect(report.verdict, summarize(report)).toBe("pass");
    const excused = report.cases.filter(({ status }) => status === "unsupported");
    expect(new Set(excused.map(({ extension }) => extension))).toEqual(
      new Set(["segmented", "device-loss"]),
    );
  }, 120_000);
});

describe("the catalogue", () => {
  it("has ids that are well-formed and occur once", () => {
    const ids = allCases.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { id, level, since, demand } of allCases) {
      expect(id).toMatch(/^L[0-4](\/[a-z0-9_-]+){2,3}$/i);
      expect(id.startsWith(`${level}/`), id).toBe(true);
      expect(since, id).toMatch(/^\d{4}-\d{2}-\d{2}$/);
      expect(demand, id).toMatch(/\w+ \w+/);
    }
  });
});
