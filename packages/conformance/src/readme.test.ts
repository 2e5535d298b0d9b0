import { create } from "@moiety/backend-cpu";
import { linearRouter } from "@moiety/routers";
import { expect, it } from "vitest";
import { conform, routerCases, summarize } from "./index.ts";

it("gives the README's first result", async () => {
  const report = await conform({
    createBackend: () => create(),
    profile: "inference",
    cases: ["L0/scope/", "L0/unary/exp"],
  });
  expect(summarize(report)).toMatch(/\nverdict: pass \(4 passed\)$/);
  expect(report.verdict).toBe("pass");
});

it("holds the README's router", async () => {
  const router = linearRouter({
    inputSize: 16,
    spec: { experts: 8, topK: 2, score: "sigmoid", renormalize: { epsilon: 1e-9 } },
  });
  const report = await conform({
    createBackend: () => create(),
    profile: "training",
    expected: "yardstick",
    extra: routerCases({ name: "mine/sigmoid", router }),
    cases: ["L1/mine/", "L1/grad/mine/", "L2/mine/", "L4/mine/", "L4/grad/mine/"],
  });
  expect(report.counts.pass).toBe(5);
  expect(report.verdict).toBe("pass");
});
