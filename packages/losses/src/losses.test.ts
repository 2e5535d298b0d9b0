import {
  ConfigError,
  type ExpertChoice,
  type Tensor,
  type TokenChoice,
  UnsupportedError,
  hostUniform,
  mul,
  randomKey,
  valueAndGrad,
} from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  huggingFaceBalance,
  huggingFaceSwitchBalance,
  importanceCv,
  switchBalance,
  zLoss,
} from "./index.ts";
import { draws, f64, i32, route, total, towards, values } from "./testing/routings.ts";
import { balanceCases, switchCase } from "./truth-cases.ts";

const coefficient = 1;

describe("truth cases of transformers", () => {
  it.each(balanceCases)("load_balancing_loss_func $name", async (one) => {
    const tokens = (one.layers[0]?.length ?? 0) / one.experts;
    const step = valueAndGrad((p: { layers: Tensor[] }) =>
      huggingFaceBalance({ coefficient, from: one.from }).evaluate(
        p.layers.map((logits) =>
          route({ experts: one.experts, logits, k: one.topK, mask: one.mask }),
        ),
      ),
    );
    const layers = one.layers.map((list) => f64(list.map(Math.fround), [tokens, one.experts]));
    const { loss, grads } = step({ layers });
    expect(await loss.item()).toBeCloseTo(one.loss, 11);
    const found = await values(grads.layers.at(-1) ?? null);
    expect(found).toHaveLength(one.gradient.length);
    one.gradient.forEach((wanted, at) => expect(found[at]).toBeCloseTo(wanted, 11));
  });

  it("load_balancing_loss_func and router_z_loss_func of Switch", async () => {
    const { experts, logits, indices } = switchCase;
    const shape = [indices.length, experts];
    const routing = (raw: Tensor): TokenChoice => {
      const chosen = i32(indices, [indices.length, 1]);
      return { ...route({ experts, logits: raw }), indices: chosen, selected: chosen };
    };
    for (const [loss, value, gradient] of [
      [huggingFaceSwitchBalance({ coefficient }), switchCase.balance, switchCase.balanceGradient],
      [switchBalance({ coefficient }), switchCase.balance, switchCase.balanceGradient],
      [zLoss({ coefficient }), switchCase.z, switchCase.zGradient],
    ] as const) {
      const found = valueAndGrad((p: { raw: Tensor }) => loss.evaluate([routing(p.raw)]))({
        raw: f64(logits.map(Math.fround), shape),
      });
      expect(await found.loss.item()).toBeCloseTo(value, 11);
      const slopes = await values(found.grads.raw);
      gradient.forEach((wanted, at) => expect(slopes[at]).toBeCloseTo(wanted, 11));
    }
  });
});

describe("switchBalance", () => {
  it("is E · Σ f·P, by hand", async () => {
    const p = [0.7, 0.2, 0.1, 0.6, 0.3, 0.1, 0.2, 0.5, 0.3, 0.4, 0.5, 0.1];
    const routing = route({ experts: 3, logits: f64(p.map(Math.log), [4, 3]) });
    // f = [2, 2, 0] / 4, P = [1.9, 1.5, 0.6] / 4.
    const wanted = 3 * (0.5 * 0.475 + 0.5 * 0.375);
    expect(await switchBalance({ coefficient }).evaluate([routing]).item()).toBeCloseTo(wanted, 12);
  });

  it("is 1 when balanced for any k, and E/k when collapsed", async () => {
    for (const k of [1, 2, 4]) {
      const even = route({ experts: 4, logits: f64(new Array(16).fill(0), [4, 4]), k });
      expect(await switchBalance({ coefficient }).evaluate([even]).item()).toBeCloseTo(1, 12);
      const certain = Array.from({ length: 12 }, (_, at) => (at % 4 < k ? 60 : 0));
      const collapsed = route({ experts: 4, logits: f64(certain, [3, 4]), k });
      const value = await switchBalance({ coefficient }).evaluate([collapsed]).item();
      expect(value).toBeCloseTo(4 / k, 9);
    }
    const spread = route({ experts: 4, logits: towards([0, 1, 2, 3], 4, 60) });
    expect(await switchBalance({ coefficient }).evaluate([spread]).item()).toBeCloseTo(1, 12);
  });

  it("is the mean over layers, so that layers cannot make up for each other", async () => {
    const layers = [0, 1].map((expert) =>
      route({ experts: 2, logits: towards([expert, expert], 2, 60) }),
    );
    expect(await switchBalance({ coefficient }).evaluate(layers).item()).toBeCloseTo(2, 9);
    expect(await huggingFaceBalance({ coefficient }).evaluate(layers).item()).toBeCloseTo(1, 9);
  });

  it("normalises sigmoid scores", async () => {
    const logits = [2, -1, 0.5, 1, 0, -2];
    const sigmoids = logits.map((l) => 1 / (1 + Math.exp(-l)));
    const shares = sigmoids.map(
      (s, at) => s / total(sigmoids.slice(at - (at % 3), at - (at % 3) + 3)),
    );
    const wanted = 3 * (((shares[0] as number) + (shares[3] as number)) / 2);
    const routing = route({ experts: 3, logits: f64(logits, [2, 3]), score: "sigmoid" });
    expect(await switchBalance({ coefficient }).evaluate([routing]).item()).toBeCloseTo(wanted, 12);
    const softmax = switchBalance({ coefficient, probabilities: "softmax" });
    const plain = route({ experts: 3, logits: f64(logits, [2, 3]) });
    expect(await softmax.evaluate([routing]).item()).toBeCloseTo(
      await switchBalance({ coefficient }).evaluate([plain]).item(),
      12,
    );
  });

  it("counts what was selected before dropping, or the plain best scores", async () => {
    const logits = towards([0, 0, 1, 1], 2, 2);
    const base = route({ experts: 2, logits });
    const dropped = { ...base, indices: i32([0, 2, 1, 2], [4, 1]) };
    const reference = await switchBalance({ coefficient }).evaluate([base]).item();
    expect(await switchBalance({ coefficient }).evaluate([dropped]).item()).toBe(reference);
    // A bias chose expert 0 for everybody, though the logits are even.
    const biased = { ...base, selected: i32([0, 0, 0, 0], [4, 1]) };
    const plain = switchBalance({ coefficient, counts: "plain" });
    expect(await plain.evaluate([biased]).item()).toBe(reference);
    expect(await switchBalance({ coefficient }).evaluate([biased]).item()).toBeCloseTo(1, 12);
    const skewed = route({ experts: 2, logits: towards([0, 0, 0, 1], 2, 2) });
    const forced = { ...skewed, selected: i32([0, 1, 0, 1], [4, 1]) };
    expect(await plain.evaluate([forced]).item()).toBeGreaterThan(1.05);
    expect(await switchBalance({ coefficient }).evaluate([forced]).item()).toBeCloseTo(1, 12);
  });

  it("takes each sequence for itself", async () => {
    // Balanced over the batch, collapsed within each sequence.
    const logits = towards([0, 0, 1, 1], 2, 60);
    const routing = route({ experts: 2, logits, sequences: [0, 2, 4] });
    expect(await switchBalance({ coefficient }).evaluate([routing]).item()).toBeCloseTo(1, 9);
    const per = switchBalance({ coefficient, per: "sequence" });
    expect(await per.evaluate([routing]).item()).toBeCloseTo(2, 9);
  });

  it("takes sequences of unequal, empty and padded length as separate calls would", async () => {
    const per = switchBalance({ coefficient, per: "sequence" });
    const batch = switchBalance({ coefficient });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 4 }),
        fc.nat(1e6),
        fc.boolean(),
        async (lengths, seed, masked) => {
          const experts = 3;
          const sequences = lengths.reduce((list, n) => [...list, (list.at(-1) ?? 0) + n], [0]);
          const tokens = sequences.at(-1) ?? 0;
          const data = draws(seed, tokens * experts);
          const random = hostUniform(randomKey(seed + 1), tokens);
          const mask = Array.from(random, (value) => !masked || value < 0.6);
          const routing = (from: number, to: number, cuts?: readonly number[]): TokenChoice =>
            route({
              experts,
              k: 2,
              logits: f64(data.slice(from * experts, to * experts), [to - from, experts]),
              mask: masked ? mask.slice(from, to) : undefined,
              ...(cuts && { sequences: cuts }),
            });
          const parts: number[] = [];
          for (const [index, end] of sequences.slice(1).entries()) {
            const start = sequences[index] ?? 0;
            if (!mask.slice(start, end).some(Boolean)) continue;
            parts.push(await batch.evaluate([routing(start, end)]).item());
          }
          const wanted = parts.length === 0 ? 0 : total(parts) / parts.length;
          const found = await per.evaluate([routing(0, tokens, sequences)]).item();
          expect(found).toBeCloseTo(wanted, 12);
        },
      ),
      { seed: 8, numRuns: 60 },
    );
  });
});

describe("huggingFaceBalance", () => {
  it("is k when balanced, and looks at logits alone", async () => {
    const even = route({ experts: 4, logits: f64(new Array(16).fill(0), [4, 4]), k: 2 });
    const loss = huggingFaceBalance({ coefficient });
    expect(await loss.evaluate([even, even]).item()).toBeCloseTo(2, 12);
    const skewed = route({ experts: 4, logits: towards([0, 0, 0, 1], 4, 2), k: 2 });
    const forced = { ...skewed, selected: i32([2, 3, 2, 3, 2, 3, 2, 3], [4, 2]) };
    expect(await loss.evaluate([forced]).item()).toBe(await loss.evaluate([skewed]).item());
  });

  it("refuses layers of unequal experts", () => {
    const layers = [2, 3].map((experts) =>
      route({ experts, logits: f64(draws(1, experts), [1, experts]) }),
    );
    expect(() => huggingFaceBalance({ coefficient }).evaluate(layers)).toThrow(ConfigError);
    expect(() => huggingFaceSwitchBalance({ coefficient }).evaluate(layers)).toThrow(ConfigError);
  });
});

describe("huggingFaceSwitchBalance", () => {
  it("counts a dropped token as one of expert 0, per sequence", async () => {
    const p = [0.1, 0.9, 0.3, 0.7, 0.6, 0.4, 0.2, 0.8];
    const logits = f64(p.map(Math.log), [4, 2]);
    const base = route({ experts: 2, logits, sequences: [0, 2, 4] });
    const routing = { ...base, indices: i32([1, 2, 0, 1], [4, 1]) };
    // Sequence 1: f = [.5, .5], P = [.2, .8]; sequence 2: f = [.5, .5], P = [.4, .6].
    const found = await huggingFaceSwitchBalance({ coefficient }).evaluate([routing]).item();
    expect(found).toBeCloseTo(1, 12);
    const nobody = { ...base, indices: i32([2, 2, 2, 2], [4, 1]) };
    const collapsed = await huggingFaceSwitchBalance({ coefficient }).evaluate([nobody]).item();
    expect(collapsed).toBeCloseTo((2 * 0.2 + 2 * 0.4) / 2, 12);
  });

  it("pools layers within a sequence", async () => {
    const layers = [0, 1].map((e) => route({ experts: 2, logits: towards([e, e], 2, 60) }));
    const found = await huggingFaceSwitchBalance({ coefficient }).evaluate(layers).item();
    expect(found).toBeCloseTo(1, 9);
  });

  it("refuses more than one expert per token, and layers of unequal sequences", () => {
    const loss = huggingFaceSwitchBalance({ coefficient });
    const logits = f64(draws(1, 8), [4, 2]);
    expect(() => loss.evaluate([route({ experts: 2, logits, k: 2 })])).toThrow(ConfigError);
    const layers = [
      [0, 2, 4],
      [0, 1, 4],
    ].map((cuts) => route({ experts: 2, logits, sequences: cuts }));
    expect(() => loss.evaluate(layers)).toThrow(ConfigError);
  });
});

describe("zLoss", () => {
  it("is the mean of the squared log-sum-exp, by hand", async () => {
    const routing = route({ experts: 2, logits: f64([0, 0, 1, 1, 5, -5], [3, 2]) });
    const sums = [Math.log(2), 1 + Math.log(2), Math.log(Math.exp(5) + Math.exp(-5))];
    const wanted = total(sums.map((value) => value ** 2)) / 3;
    expect(await zLoss({ coefficient }).evaluate([routing]).item()).toBeCloseTo(wanted, 12);
  });

  it("works on every kind of routing", async () => {
    const logits = f64([1, 1, 1, 1], [2, 2]);
    const routing: ExpertChoice = {
      kind: "expert-choice",
      experts: 2,
      logits,
      scores: logits,
      tokens: i32([0, 1], [1, 2, 1]),
      weights: f64([1, 1], [1, 2, 1]),
    };
    expect(await zLoss({ coefficient }).evaluate([routing]).item()).toBeCloseTo(
      (1 + Math.log(2)) ** 2,
      12,
    );
    expect(() => switchBalance({ coefficient }).evaluate([routing])).toThrow(UnsupportedError);
  });
});

describe("importanceCv", () => {
  it("is variance / mean² of the summed weights, by hand", async () => {
    const base = route({ experts: 3, logits: f64(draws(2, 6), [2, 3]), k: 2 });
    const routing = {
      ...base,
      selected: i32([0, 1, 0, 2], [2, 2]),
      outputWeights: f64([0.75, 0.25, 0.5, 0.5], [2, 2]),
    };
    // Importance [1.25, 0.25, 0.5], mean 2/3.
    const mean = 2 / 3;
    const variance = total([1.25, 0.25, 0.5].map((value) => (value - mean) ** 2)) / 3;
    const loss = importanceCv({ coefficient });
    expect(await loss.evaluate([routing]).item()).toBeCloseTo(variance / (mean ** 2 + 1e-10), 10);
    // Where weights apply to inputs, those count.
    const input = {
      ...routing,
      inputWeights: routing.outputWeights,
      outputWeights: f64([1, 1, 1, 1], [2, 2]),
    };
    expect(await loss.evaluate([input]).item()).toBe(await loss.evaluate([routing]).item());
  });

  it("is 0 when even and E − 1 when one expert has it all", async () => {
    const loss = importanceCv({ coefficient });
    const even = route({ experts: 4, logits: towards([0, 1, 2, 3], 4, 60) });
    expect(await loss.evaluate([even]).item()).toBeCloseTo(0, 12);
    const collapsed = route({ experts: 4, logits: towards([2, 2, 2], 4, 60) });
    expect(await loss.evaluate([collapsed]).item()).toBeCloseTo(3, 8);
    const nothing = { ...even, outputWeights: mul(even.outputWeights, 0) };
    expect(await loss.evaluate([nothing]).item()).toBe(0);
  });
});
