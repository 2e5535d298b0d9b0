import { UnsupportedError } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { entropyLoss, mutualInformation, tokenEntropyLoss } from "./index.ts";
import { draws, f64, route, total, towards } from "./testing/routings.ts";

const coefficient = 1;
const entropy = (p: readonly number[]): number =>
  total(p.map((x) => (x > 0 ? -x * Math.log(x) : 0)));
const meanOf = (rows: readonly (readonly number[])[]): number[] =>
  (rows[0] ?? []).map((_, at) => total(rows.map((row) => row[at] ?? 0)) / rows.length);

const rows = [
  [0.7, 0.2, 0.1],
  [0.1, 0.6, 0.3],
  [0.25, 0.25, 0.5],
  [0.9, 0.05, 0.05],
];
const routing = route({ experts: 3, logits: f64(rows.flat().map(Math.log), [4, 3]) });

describe("entropies", () => {
  it("are as their formulas, by hand", async () => {
    const within = total(rows.map(entropy)) / 4;
    const whole = entropy(meanOf(rows));
    expect(await entropyLoss({ coefficient }).evaluate([routing]).item()).toBeCloseTo(
      Math.log(3) - whole,
      12,
    );
    expect(await tokenEntropyLoss({ coefficient }).evaluate([routing]).item()).toBeCloseTo(
      within,
      12,
    );
    expect(await mutualInformation({ coefficient }).evaluate([routing]).item()).toBeCloseTo(
      within - whole,
      12,
    );
  });

  it("of sequences count each the same, and per sequence one by one", async () => {
    const cut = { ...routing, sequences: [0, 1, 1, 4] };
    const parts = [rows.slice(0, 1), rows.slice(1)].map(meanOf);
    const whole = entropy(meanOf(parts));
    const tasks = mutualInformation({ coefficient, of: "sequences" });
    const within = (entropy(parts[0] ?? []) + entropy(parts[1] ?? [])) / 2;
    expect(await tasks.evaluate([cut]).item()).toBeCloseTo(within - whole, 12);
    const per = entropyLoss({ coefficient, per: "sequence" });
    expect(await per.evaluate([cut]).item()).toBeCloseTo(Math.log(3) - within, 12);
    expect(await tasks.evaluate([routing]).item()).toBeCloseTo(0, 12);
  });

  it("stay within their bounds", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(1e6), fc.integer({ min: 0, max: 40 }), async (seed, height) => {
        const logits = f64(
          draws(seed, 20).map((x) => x * height),
          [5, 4],
        );
        const given = route({ experts: 4, logits });
        const most = Math.log(4) + 1e-12;
        for (const [loss, low, high] of [
          [entropyLoss({ coefficient }), -1e-12, most],
          [tokenEntropyLoss({ coefficient }), -1e-12, most],
          [mutualInformation({ coefficient }), -most, 1e-12],
        ] as const) {
          const value = await loss.evaluate([given]).item();
          expect(value).toBeGreaterThanOrEqual(low);
          expect(value).toBeLessThanOrEqual(high);
        }
      }),
      { seed: 4, numRuns: 40 },
    );
  });

  it("are 0 and log E at the ends", async () => {
    const collapsed = route({ experts: 4, logits: towards([2, 2, 2], 4) });
    const undecided = route({ experts: 4, logits: towards([0, 1, 2], 4, 0) });
    const value = (loss: typeof entropyLoss, given: typeof collapsed): Promise<number> =>
      loss({ coefficient }).evaluate([given]).item();
    expect(await value(entropyLoss, collapsed)).toBeCloseTo(Math.log(4), 12);
    expect(await value(entropyLoss, undecided)).toBeCloseTo(0, 12);
    expect(await value(tokenEntropyLoss, collapsed)).toBeCloseTo(0, 12);
    expect(await value(tokenEntropyLoss, undecided)).toBeCloseTo(Math.log(4), 12);
    expect(await value(mutualInformation, collapsed)).toBeCloseTo(0, 12);
    expect(await value(mutualInformation, undecided)).toBeCloseTo(0, 12);
  });

  it("take a softmax of the logits where told so, and refuse soft routing", async () => {
    const sigmoid = route({ experts: 3, score: "sigmoid", logits: routing.logits });
    for (const make of [entropyLoss, tokenEntropyLoss, mutualInformation]) {
      const softmax = make({ coefficient, probabilities: "softmax" });
      const wanted = await make({ coefficient }).evaluate([routing]).item();
      expect(await softmax.evaluate([sigmoid]).item()).toBeCloseTo(wanted, 12);
      expect(await make({ coefficient }).evaluate([sigmoid]).item()).not.toBeCloseTo(wanted, 3);
      expect(() => make({ coefficient, probabilities: "p" as "softmax" })).toThrow(/probabilities/);
      const soft = { ...routing, kind: "soft", slots: 1 } as never;
      expect(() => make({ coefficient }).evaluate([soft])).toThrow(UnsupportedError);
    }
    expect(() => mutualInformation({ coefficient, of: "tasks" as "tokens" })).toThrow(
      /of is tasks/,
    );
  });
});
