import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConfigError } from "./errors.ts";
import {
  foldIn,
  hostBits,
  hostNormal,
  hostUniform,
  randomKey,
  splitKey,
  threefry2x32,
} from "./random.ts";

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });

describe("threefry2x32", () => {
  // The known answers of Random123 (tests/kat_vectors) for threefry2x32 with 20 rounds.
  it.each([
    [
      [0, 0],
      [0, 0],
      [0x6b200159, 0x99ba4efe],
    ],
    [
      [0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x1cb996fc, 0xbb002be7],
    ],
    [
      [0x13198a2e, 0x03707344],
      [0x243f6a88, 0x85a308d3],
      [0xc4923a9c, 0x483df7a0],
    ],
  ] as const)("gives Random123's known answer for key %j, counter %j", (key, counter, answer) => {
    expect(threefry2x32(key, counter)).toEqual(answer);
  });
});

describe("keys", () => {
  it("take seeds beyond 32 bits", () => {
    expect(randomKey(7)).toEqual([0, 7]);
    expect(randomKey(2 ** 32 + 7)).toEqual([1, 7]);
    expect(randomKey(Number.MAX_SAFE_INTEGER)).toEqual([2 ** 21 - 1, 2 ** 32 - 1]);
  });

  it("refuse what is no seed", () => {
    for (const seed of [-1, 0.5, Number.NaN, 2 ** 53]) {
      expect(() => randomKey(seed)).toThrow(ConfigError);
    }
    expect(() => foldIn([0, 7], 2 ** 32)).toThrow(ConfigError);
    expect(() => splitKey([0, 7], -1)).toThrow(ConfigError);
    expect(() => hostBits([0, 7], 1.5)).toThrow(ConfigError);
  });

  it("fold and split with counters of their own", () => {
    expect(foldIn([0, 7], 3)).toEqual([2537802879, 2635747872]);
    expect(splitKey([0, 7], 2)).toEqual([
      [966301609, 1948237315],
      [3075607267, 1812501628],
    ]);
  });

  it("never repeat the parent's draws", () => {
    fc.assert(
      fc.property(u32, u32, (a, b) => {
        const key = [a, b] as const;
        const blocks = [
          ...Array.from({ length: 8 }, (_, n) => threefry2x32(key, [n, 0])),
          ...Array.from({ length: 8 }, (_, n) => foldIn(key, n)),
          ...splitKey(key, 8),
        ];
        expect(new Set(blocks.map((block) => block.join())).size).toBe(24);
      }),
      { seed: 1, numRuns: 50 },
    );
  });
});

describe("draws", () => {
  it("are the words of consecutive blocks", () => {
    expect([...hostBits([0, 7], 7)]).toEqual([
      3625411723, 1954958720, 1830345032, 3888369200, 2793701230, 249629619, 2614294787,
    ]);
  });

  it("begin alike whatever their number", () => {
    const long = hostBits([5, 9], 101);
    for (const count of [0, 1, 2, 33, 100]) {
      expect(hostBits([5, 9], count)).toEqual(long.subarray(0, count));
    }
  });

  it("are uniform with 24 bits", () => {
    expect([...hostUniform([0, 7], 3)]).toEqual([
      0.844106912612915, 0.4551742672920227, 0.42616039514541626,
    ]);
    const many = hostUniform([1, 2], 100_000);
    expect(Math.min(...many.subarray(0, 50_000))).toBeGreaterThanOrEqual(0);
    expect(many.every((value) => value < 1 && Math.fround(value) === value)).toBe(true);
    expect(mean(many)).toBeCloseTo(0.5, 2);
  });

  it("are normal by the quantile function", () => {
    // statistics.NormalDist().inv_cdf of Python at the same 24-bit points.
    const expected = [
      1.011481324408598, -0.11259885331823906, -0.1861580120210686, 1.3125430945857528,
      0.3865606684705293, -1.570740980890203, 0.2759010520117753,
    ];
    const drawn = hostNormal([0, 7], 7);
    for (const [index, value] of expected.entries()) {
      expect(Math.abs((drawn[index] ?? 0) - value)).toBeLessThan(2e-7);
    }
    const many = hostNormal([3, 4], 100_000);
    expect(mean(many)).toBeCloseTo(0, 2);
    expect(mean(many.map((value) => value * value))).toBeCloseTo(1, 1);
    expect(Math.abs(mean(many.map((value) => value ** 4)) - 3)).toBeLessThan(0.1);
  });
});

function mean(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}
