import { describe, expect, it } from "vitest";
import { studentDistribution, studentQuantile } from "./student-t.ts";

describe("studentQuantile", () => {
  it.each([
    // Two-sided 95 %, from the usual table.
    [0.975, 1, 12.7062],
    [0.975, 2, 4.30265],
    [0.975, 5, 2.57058],
    [0.975, 22, 2.07387],
    [0.975, 30, 2.04227],
    [0.975, 223, 1.97066],
    [0.975, 1e6, 1.95997],
    [0.95, 10, 1.81246],
    [0.995, 4, 4.60409],
  ])("of %f with %d degrees of freedom is %f", (probability, degrees, expected) => {
    expect(studentQuantile(probability, degrees)).toBeCloseTo(expected, 4);
  });

  it("is 0 at one half and inverts the distribution", () => {
    expect(studentQuantile(0.5, 7)).toBeCloseTo(0, 10);
    expect(studentDistribution(studentQuantile(0.8, 3.5), 3.5)).toBeCloseTo(0.8, 10);
  });

  it("agrees with the closed form for one degree of freedom", () => {
    for (const value of [0.1, 1, 3, 50]) {
      expect(studentDistribution(value, 1)).toBeCloseTo(0.5 + Math.atan(value) / Math.PI, 12);
    }
  });

  it("refuses what has no quantile", () => {
    expect(() => studentQuantile(1, 5)).toThrow(RangeError);
    expect(() => studentQuantile(0.4, 5)).toThrow(RangeError);
    expect(() => studentQuantile(0.9, 0)).toThrow(RangeError);
  });
});
