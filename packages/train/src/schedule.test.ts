import { ConfigError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { constant, warmupCosine, warmupLinear } from "./schedule.ts";

describe("schedules", () => {
  it("warmupCosine is peak · min(1, (s+1)/w) · (f + (1−f)/2 · (1 + cos(π s/n)))", () => {
    const rate = warmupCosine({
      peak: 3e-3,
      warmupSteps: 20,
      totalSteps: 300,
      finalFraction: 0.1,
    });
    for (const step of [0, 1, 10, 19, 20, 150, 299]) {
      const expected =
        3e-3 * Math.min(1, (step + 1) / 20) * (0.1 + 0.45 * (1 + Math.cos((Math.PI * step) / 300)));
      expect(Math.abs(rate(step) - expected)).toBeLessThan(1e-18);
    }
    expect(rate(0)).toBeCloseTo(1.5e-4, 12);
    expect(rate(300)).toBeCloseTo(3e-4, 12);
    expect(rate(1000)).toBe(rate(300));
  });

  it("warmupLinear falls in a straight line", () => {
    const rate = warmupLinear({ peak: 1, warmupSteps: 0, totalSteps: 10, finalFraction: 0.5 });
    expect([0, 5, 10, 20].map(rate)).toEqual([1, 0.75, 0.5, 0.5]);
  });

  it("constant stays", () => {
    expect([0, 99].map(constant(0.25))).toEqual([0.25, 0.25]);
  });

  it("refuses what makes no sense", () => {
    const good = { peak: 1, warmupSteps: 1, totalSteps: 2 };
    expect(() => warmupCosine({ ...good, totalSteps: 0 })).toThrow(/totalSteps/);
    expect(() => warmupCosine({ ...good, warmupSteps: 1.5 })).toThrow(/warmupSteps/);
    expect(() => warmupLinear({ ...good, peak: Number.NaN })).toThrow(/peak/);
    expect(() => constant(-1)).toThrow(ConfigError);
  });
});
