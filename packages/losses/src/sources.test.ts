import { ConfigError, ShapeError, type TokenChoice } from "@moiety/core";
import { describe, expect, it } from "vitest";
import {
  deepseekExpertBalance,
  deepspeedBalance,
  flaxformerBalance,
  gshardBalance,
  lossCatalogue,
  megablocksBalance,
  megatronBalance,
  nllbBalance,
  sequenceBalance,
  stMoeBalance,
  switchBalance,
} from "./index.ts";
import { bools, draws, f64, i32, route, towards } from "./testing/routings.ts";

const coefficient = 1;
const sequences = [0, 2, 5];
const logits = f64(draws(11, 20), [5, 4]);
const routing = route({ experts: 4, k: 2, logits, sequences });
const wide = route({ experts: 4, k: 3, logits, sequences });
const value = (
  loss: { evaluate: typeof plain.evaluate },
  of: TokenChoice = routing,
): Promise<number> => loss.evaluate([of]).item();
const plain = switchBalance({ coefficient });

describe("the sources' losses are variants of one form", () => {
  it.each([
    ["Megatron-LM's", megatronBalance, { counts: "plain" }],
    ["MegaBlocks'", megablocksBalance, {}],
    ["DeepSeek's", deepseekExpertBalance, { per: "sequence" }],
    ["DeepSeek-V3's", sequenceBalance, { per: "sequence", counts: "plain" }],
  ] as const)("%s is Switch's with its own defaults", async (_, make, options) => {
    const biased = { ...routing, selected: i32([0, 1, 2, 3, 0, 2, 1, 3, 0, 3], [5, 2]) };
    const same = switchBalance({ coefficient, ...options });
    expect(await value(make({ coefficient }), biased)).toBe(await value(same, biased));
    const own = { per: "batch", counts: "selected", probabilities: "softmax" } as const;
    expect(await value(make({ coefficient, ...own }), biased)).toBe(
      await value(switchBalance({ coefficient, ...own }), biased),
    );
  });

  it("flaxformer's is k times that per group", async () => {
    const per = await value(switchBalance({ coefficient, per: "sequence" }), wide);
    expect(await value(flaxformerBalance({ coefficient }), wide)).toBeCloseTo(3 * per, 12);
  });

  it("DeepSpeed's counts first choices up to k = 2, and all from 3", async () => {
    const first = gshardBalance({ coefficient });
    expect(await value(deepspeedBalance({ coefficient }))).toBe(await value(first));
    expect(await value(deepspeedBalance({ coefficient }), wide)).toBeCloseTo(
      await value(plain, wide),
      14,
    );
    expect(await value(deepspeedBalance({ coefficient, gating: "topk" }))).toBeCloseTo(
      await value(plain),
      14,
    );
    expect(await value(deepspeedBalance({ coefficient, gating: "top2" }), wide)).toBe(
      await value(first, wide),
    );
    expect(() => deepspeedBalance({ coefficient, gating: "top3" as "topk" })).toThrow(
      /gating is top3/,
    );
  });

  it("GShard's looks at first choices alone", async () => {
    const single = {
      ...routing,
      selected: i32(
        [...(await routing.selected.read())].filter((_, at) => at % 2 === 0),
        [5, 1],
      ),
    };
    expect(await value(gshardBalance({ coefficient }))).toBeCloseTo(await value(plain, single), 14);
    const rounded = gshardBalance({ coefficient, shares: "float32" });
    expect(await value(rounded)).not.toBe(await value(gshardBalance({ coefficient })));
    expect(await value(rounded)).toBeCloseTo(await value(gshardBalance({ coefficient })), 6);
    expect(() => gshardBalance({ coefficient, shares: "half" as "exact" })).toThrow(
      /shares is half/,
    );
  });

  it("ST-MoE's leaves out first choices without a place, and NLLB's puts them down to expert 0", async () => {
    const base = route({ experts: 2, logits: towards([0, 1, 1, 1], 2, 0) });
    const dropped = {
      ...base,
      selected: i32([0, 1, 1, 1], [4, 1]),
      indices: i32([0, 1, 2, 2], [4, 1]),
    };
    // Probabilities are even: E · Σ c · 1/2 is Σ c.
    expect(await value(stMoeBalance({ coefficient }), dropped)).toBeCloseTo(0.5, 12);
    // Weights: [.5, 0], [0, .5], dropped, dropped; W = [1/8, 1/8], f = [3/4, 1/4].
    const weighed = { ...dropped, outputWeights: f64([0.5, 0.5, 0, 0], [4, 1]) };
    expect(await value(nllbBalance({ coefficient }), weighed)).toBeCloseTo(2 / 8, 12);
    const uneven = { ...dropped, outputWeights: f64([1, 0.5, 0, 0], [4, 1]) };
    expect(await value(nllbBalance({ coefficient }), uneven)).toBeCloseTo(
      2 * (0.75 * 0.25 + 0.25 * 0.125),
      12,
    );
  });
});

describe("every loss", () => {
  const options = { coefficient: 1, devices: 2, topK: 2, reward: f64([1, 2, 3, 4, 5]) };
  it.each(lossCatalogue)("$name refuses a mask or sequences of other tokens", (entry) => {
    for (const loss of entry.make(options)) {
      const short = { ...routing, mask: bools([1, 1, 0]) };
      expect(() => loss.evaluate([short])).toThrow(ShapeError);
      expect(() => loss.evaluate([short])).toThrow(/mask is \[3\], but must be \[5\]/);
      const cut = { ...routing, sequences: [0, 2, 4] };
      expect(() => loss.evaluate([cut])).toThrow(/sequences end at 4, but it has 5 tokens/);
      expect(() => loss.evaluate([])).toThrow(ConfigError);
    }
    expect(() => entry.make({ ...options, coefficient: Number.NaN })).toThrow(ConfigError);
  });
});
