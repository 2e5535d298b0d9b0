import { describe, expect, it } from "vitest";
import { median, race } from "./timing.ts";

describe("median", () => {
  it.each([
    [[3], 3],
    [[5, 1, 3], 3],
    [[4, 1, 3, 2], 2.5],
    [[10, 9], 9.5],
  ])("of %j is %d", (values, wanted) => {
    expect(median(values)).toBe(wanted);
  });

  it("of nothing is no number", () => {
    expect(median([])).toBeNaN();
  });
});

describe("race", () => {
  const runner = (name: string, order: string[]) => ({
    run: async (): Promise<undefined> => {
      order.push(name);
    },
  });

  it("takes turns, and changes the order; quick ones run more often", async () => {
    const order: string[] = [];
    const timings = await race([runner("a", order), runner("b", order)], {
      samples: 1,
      limit: 1e9,
    });
    // Two warm-ups and five turns each, a and b, b and a, and so on.
    expect(order.join("").replaceAll(/(.)\1+/g, "$1")).toBe("ab".repeat(4));
    expect(order.join("")).toMatch(/^abba(aa+bb+bb+aa+){2}aa+bb+$/);
    expect(timings.map(({ samples, wrong }) => [samples, wrong])).toEqual([
      [5, 0],
      [5, 0],
    ]);
  });

  it("does with fewer runs where they take long", async () => {
    const slow = {
      run: () => new Promise<undefined>((resolve) => setTimeout(resolve, 20, undefined)),
    };
    const [timing] = await race([slow], { samples: 50, limit: 100 });
    expect(timing?.samples).toBeLessThanOrEqual(5);
    expect(timing?.samples).toBeGreaterThanOrEqual(3);
    expect(timing?.median).toBeGreaterThan(15);
  });

  it("counts wrong runs, and does not time them", async () => {
    let count = 0;
    const erring = {
      run: async () => {
        await new Promise((resolve) => setTimeout(resolve, 2));
        return Float32Array.of(count++);
      },
      check: (output: Float32Array) => output[0] !== 1 && output[0] !== 4,
    };
    const [timing] = await race([erring], { samples: 5, limit: 1e9 });
    expect(timing?.wrong).toBe(2);
    // The first warm-up is right, and not timed either.
    expect(timing?.samples).toBe((timing?.runs ?? 0) - 3);
  });
});
