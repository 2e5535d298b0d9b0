import { NumericError, ShapeError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { compare } from "./statistics.ts";

describe("compare", () => {
  it("gives the paired t interval of the textbook", () => {
    // Differences −1, −2, −3, −4, −5: mean −3, s = √2.5, t(4) = 2.776445.
    const found = compare([9, 8, 7, 6, 5], [10, 10, 10, 10, 10]);
    const half = (2.776445 * Math.sqrt(2.5)) / Math.sqrt(5);
    expect(found.difference).toBeCloseTo(-3, 12);
    expect(found.low).toBeCloseTo(-3 - half, 5);
    expect(found.high).toBeCloseTo(-3 + half, 5);
    expect(found).toMatchObject({ first: 7, second: 10, sequences: 5, verdict: "first better" });
  });

  it("is paired: what both models find hard does not widen it", () => {
    const hardness = [1, 9, 2, 8, 3, 7, 4, 6];
    const sparse = hardness.map((value, index) => value - 0.1 - 0.001 * (index % 2));
    expect(compare(sparse, hardness)).toMatchObject({ verdict: "first better" });
    expect(compare(hardness, sparse)).toMatchObject({ verdict: "second better" });
  });

  it("is not resolved where the interval contains 0", () => {
    const found = compare([1, 3, 1, 3], [2, 2, 2, 2.1]);
    expect(found.low).toBeLessThan(0);
    expect(found.high).toBeGreaterThan(0);
    expect(found.verdict).toBe("not resolved");
    expect(compare([2, 2, 2], [2, 2, 2]).verdict).toBe("not resolved");
  });

  it("resolves nothing from a single sequence", () => {
    expect(compare([1], [5])).toMatchObject({
      difference: -4,
      low: Number.NEGATIVE_INFINITY,
      high: Number.POSITIVE_INFINITY,
      verdict: "not resolved",
    });
  });

  it("covers the true mean about 95 times in 100", () => {
    let covered = 0;
    const rounds = 2000;
    let state = 12345;
    const uniform = (): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state + 0.5) / 2 ** 32;
    };
    const normal = (): number =>
      Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    for (let round = 0; round < rounds; round += 1) {
      const sparse = Array.from({ length: 6 }, () => 0.3 + normal());
      const { low, high } = compare(sparse, [0, 0, 0, 0, 0, 0]);
      if (low <= 0.3 && 0.3 <= high) covered += 1;
    }
    // Four standard deviations of a binomial around 0.95.
    expect(Math.abs(covered / rounds - 0.95)).toBeLessThan(4 * Math.sqrt((0.95 * 0.05) / rounds));
  });

  it("refuses unequal or no sequences, and figures that are not finite", () => {
    expect(() => compare([1, 2], [1])).toThrow(ShapeError);
    expect(() => compare([], [])).toThrow(ShapeError);
    expect(() => compare([1, Number.NaN], [1, 1])).toThrow(NumericError);
  });
});
