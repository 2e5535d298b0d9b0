import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { pythonFloat } from "./python-float.ts";

describe("pythonFloat", () => {
  // What CPython's repr prints for these.
  it.each([
    [0, "0.0"],
    [-0, "-0.0"],
    [1, "1.0"],
    [-2.5, "-2.5"],
    [0.1, "0.1"],
    [10000, "10000.0"],
    [1e-4, "0.0001"],
    [1e-5, "1e-05"],
    [1.5e-7, "1.5e-07"],
    [0.00012345, "0.00012345"],
    [1e15, "1000000000000000.0"],
    [9999999999999998, "9999999999999998.0"],
    [1e16, "1e+16"],
    [1.2345678901234568e17, "1.2345678901234568e+17"],
    [1e100, "1e+100"],
    [5e-324, "5e-324"],
    [1.7976931348623157e308, "1.7976931348623157e+308"],
    [Number.NaN, "NaN"],
    [Infinity, "Infinity"],
    [-Infinity, "-Infinity"],
  ])("writes %d as Python does", (value, text) => {
    expect(pythonFloat(value)).toBe(text);
  });

  it("reads back as the same number, always with a mark of a float", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), (value) => {
        const text = pythonFloat(value);
        expect(Number(text)).toBe(value);
        expect(text).toMatch(/[.eI]/);
      }),
      { seed: 4, numRuns: 1000 },
    );
  });
});
