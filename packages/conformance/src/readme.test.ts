import { create } from "@moiety/backend-cpu";
import { expect, it } from "vitest";
import { conform, summarize } from "./index.ts";

it("gives the README's first result", async () => {
  const report = await conform({
    createBackend: () => create(),
    profile: "inference",
    cases: ["L0/scope/", "L0/unary/exp"],
  });
  expect(summarize(report)).toMatch(/\nverdict: pass \(4 passed\)$/);
  expect(report.verdict).toBe("pass");
});
