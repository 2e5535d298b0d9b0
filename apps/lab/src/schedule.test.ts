import { describe, expect, it } from "vitest";
import { evaluationSteps, stepsWithin } from "./schedule.ts";

const budget = {
  trialSeconds: [0.5, 0.5, 4],
  seconds: 100,
  windows: 96,
  training: { batchSize: 8 },
  evaluation: { evaluations: 3, partOfWindows: 0.25 },
};

describe("stepsWithin", () => {
  it("fills the time with steps and evaluations, by the median trial", () => {
    // 200 steps less 96 · 1.5 windows, 8 in a batch, at a third of a step each.
    expect(stepsWithin(budget)).toBe(200 - 6);
  });

  it("takes the mean of the two middle trials", () => {
    expect(stepsWithin({ ...budget, trialSeconds: [0.1, 0.4, 0.6, 9] })).toBe(194);
  });

  it("gives at least one step", () => {
    expect(stepsWithin({ ...budget, seconds: 0.01 })).toBe(1);
    expect(stepsWithin({ ...budget, seconds: -5 })).toBe(1);
  });
});

describe("evaluationSteps", () => {
  it("spreads evaluations evenly and ends with the last step", () => {
    expect(evaluationSteps(300, 6)).toEqual([50, 100, 150, 200, 250, 300]);
    expect(evaluationSteps(10, 3)).toEqual([3, 7, 10]);
  });

  it("names no step twice in a short run", () => {
    expect(evaluationSteps(2, 6)).toEqual([1, 2]);
    expect(evaluationSteps(1, 6)).toEqual([1]);
  });
});
