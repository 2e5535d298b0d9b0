import type { TokenChoice } from "@moiety/core";
import { expect, it } from "vitest";
import { importanceCv } from "./importance-cv.ts";
import { f64, i32, values } from "./testing/routings.ts";

it("weighs what a router with a varying count fills, not all that it wanted", async () => {
  const experts = 3;
  // Two tokens with two places each; the first wanted three experts.
  const routing: TokenChoice = {
    kind: "token-choice",
    experts,
    logits: f64([0, 0, 0, 0, 0, 0], [2, experts]),
    scores: f64([0.5, 0.3, 0.2, 0.6, 0.3, 0.1], [2, experts]),
    selected: i32([0, 1, 2, 0, experts, experts], [2, experts]),
    indices: i32([0, 1, 0, experts], [2, 2]),
    outputWeights: f64([0.6, 0.4, 1, 0], [2, 2]),
    maxActive: 2,
  };
  const [found] = await values(importanceCv({ coefficient: 1, epsilon: 0 }).evaluate([routing]));
  // Importance 1.6, 0.4 and 0: variance over squared mean.
  const mean = 2 / 3;
  const variance = [1.6, 0.4, 0].reduce((sum, value) => sum + (value - mean) ** 2, 0) / experts;
  expect(found).toBeCloseTo(variance / mean ** 2, 9);
});
