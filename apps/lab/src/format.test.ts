import { describe, expect, it } from "vitest";
import { bits, duration, percent, signedBits, size, times } from "./format.ts";

describe("figures", () => {
  it.each([
    [size(1_910_496), "1.91 M"],
    [size(614_400), "614 k"],
    [size(999_950), "1.00 M"],
    [size(18_200), "18.2 k"],
    [size(96), "96"],
    [size(12.34), "12.3"],
    [bits(3.4894), "3.489"],
    [signedBits(-0.1711), "-0.171"],
    [signedBits(0.02), "+0.020"],
    [signedBits(-0.0001), "0.000"],
    [signedBits(Number.NEGATIVE_INFINITY), "-inf"],
    [percent(0.125), "13 %"],
    [percent(0.031), "3.1 %"],
    [percent(0.0001), "<0.1 %"],
    [percent(0), "0 %"],
    [times(3.14), "3.1x"],
    [times(0.021), "0.02x"],
    [times(12.4), "12x"],
    [duration(83), "1:23"],
    [duration(7283), "2:01:23"],
    [duration(-1), "0:00"],
  ])("%s", (written, expected) => {
    expect(written).toBe(expected);
  });
});
