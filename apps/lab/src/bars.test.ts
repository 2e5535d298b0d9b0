import { describe, expect, it } from "vitest";
import { condense, curveBars, loadBars, scaleOf } from "./bars.ts";

describe("condense", () => {
  it("leaves what fits, and averages neighbours of what does not, none left out", () => {
    expect(condense([1, 2, 3], 3)).toEqual([1, 2, 3]);
    expect(condense([1, 2, 3], 8)).toEqual([1, 2, 3]);
    expect(condense([1, 3, 5, 7], 2)).toEqual([2, 6]);
    expect(condense([0, 3, 6, 9, 12], 2)).toEqual([1.5, 9]);
    expect(condense([], 4)).toEqual([]);
  });
});

describe("curveBars", () => {
  it("goes from the lowest to the highest of a scale", () => {
    const scale = scaleOf([[1, 8], [4]]);
    expect(scale).toEqual({ low: 1, high: 8 });
    expect(curveBars([1, 2, 3, 4, 5, 6, 7, 8], scale)).toBe("▁▂▃▄▅▆▇█");
  });

  it("draws a flat line, and what is no number", () => {
    expect(curveBars([2, 2], { low: 2, high: 2 })).toBe("▁▁");
    expect(curveBars([Number.NaN, 8], { low: 1, high: 8 })).toBe("·█");
  });
});

describe("loadBars", () => {
  it("is half full at an even share, full from two on, a dot for nothing", () => {
    expect(loadBars([0.25, 0.25, 0.25, 0.25])).toBe("▄▄▄▄");
    expect(loadBars([0.5, 0.375, 0.125, 0])).toBe("█▆▂·");
    expect(loadBars([0.999, 0.0005, 0.0005])).toBe("█▁▁");
    expect(loadBars([1])).toBe("▄");
  });
});
