import { ConfigError, DTypeError, ShapeError } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lossCatalogue } from "./index.ts";
import {
  draws,
  f64,
  i32,
  proportional,
  route,
  routeNoisily,
  total,
  values,
} from "./testing/routings.ts";
import { targetTensor } from "./target.ts";

/** Losses that take a target. */
const withTarget = lossCatalogue.filter(
  ({ name, balanced }) => balanced !== "–" && name !== "dogeBalance",
);
const balancedValue = (balanced: string, experts: number): number =>
  balanced === "k" ? 1 : balanced === "−log E" ? -Math.log(experts) : Number(balanced);
const options = { coefficient: 1, devices: 2 } as const;

describe("a target", () => {
  it.each(withTarget)("gives $name its balanced value where load is the target", async (entry) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 4, maxLength: 4 }),
        async (parts) => {
          const target = parts.map((count) => count / total(parts));
          const routing = proportional(parts);
          const wanted = balancedValue(entry.balanced, 4);
          for (const loss of entry.make({ ...options, target })) {
            expect(await loss.evaluate([routing]).item()).toBeCloseTo(wanted, 9);
          }
          for (const loss of entry.make({ ...options, target: f64(target) })) {
            expect(await loss.evaluate([routing]).item()).toBeCloseTo(wanted, 9);
          }
        },
      ),
      { seed: 5, numRuns: 8 },
    );
  });

  it.each(withTarget)("makes $name larger elsewhere", async (entry) => {
    const target = [0.1, 0.2, 0.3, 0.4];
    const wanted = balancedValue(entry.balanced, 4);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 4, maxLength: 4 }),
        async (parts) => {
          if (total(parts) === 0) return;
          for (const loss of entry.make({ ...options, target })) {
            const found = await loss.evaluate([proportional(parts)]).item();
            expect(found).toBeGreaterThanOrEqual(wanted - 1e-9);
          }
        },
      ),
      { seed: 6, numRuns: 15 },
    );
    for (const loss of entry.make({ ...options, target })) {
      expect(await loss.evaluate([proportional([4, 3, 2, 1])]).item()).toBeGreaterThan(
        wanted + 0.1,
      );
    }
  });

  it.each(withTarget)("that is even changes nothing of $name", async (entry) => {
    const k = entry.name === "huggingFaceSwitchBalance" ? 1 : 2;
    const logits = f64(draws(8, 24), [6, 4]);
    const routing = routeNoisily({ experts: 4, k, logits, mask: [1, 0, 1, 1, 1, 1] }, 3);
    const target = [0.25, 0.25, 0.25, 0.25];
    const plain = entry.make(options);
    const even = entry.make({ ...options, target });
    for (const [index, loss] of plain.entries()) {
      const value = await loss.evaluate([routing]).item();
      expect(await even[index]?.evaluate([routing]).item()).toBeCloseTo(value, 13);
    }
  });

  it.each(withTarget)("is refused by $name where it makes no sense", (entry) => {
    const make = (target: unknown): unknown =>
      entry.make({ ...options, target: target as number[] });
    for (const target of [[0.5, 0.6], [1.5, -0.5], [1, 0], [Number.NaN, 1], [], "even"]) {
      expect(() => make(target)).toThrow(ConfigError);
    }
    expect(() => make([0.25, 0.25, 0.25, -0.25])).toThrow(/expert 3 is -0.25/);
    expect(() => make([0.5, 0.25])).toThrow(/sums to 0.75/);
    expect(() => make(f64([1, 0], [1, 2]))).toThrow(ShapeError);
    expect(() => make(i32([1, 0]))).toThrow(DTypeError);
    const routing = route({ experts: 4, logits: f64(draws(1, 8), [2, 4]) });
    for (const target of [[0.5, 0.5], f64([0.5, 0.5])]) {
      for (const loss of entry.make({ ...options, target })) {
        expect(() => loss.evaluate([routing])).toThrow(/2 shares, but the routing has 4/);
      }
    }
  });

  it("takes the dtype of what it stands beside, and no gradient", async () => {
    const shares = targetTensor("a", f64([0.25, 0.75]), 2, f64([1]));
    expect(await values(shares)).toEqual([0.25, 0.75]);
    expect(shares?.dtype).toBe("f64");
    expect(targetTensor("a", undefined, 2, f64([1]))).toBeUndefined();
  });
});
