import {
  ConfigError,
  ShapeError,
  type Tensor,
  type TokenChoice,
  UnsupportedError,
  onesLike,
  softmax,
  valueAndGrad,
} from "@moiety/core";
import { describe, expect, it } from "vitest";
import { choiceLogProbability, reinforceLoss } from "./index.ts";
import { backend, draws, f64, values } from "./testing/routings.ts";

const EXPERTS = 4;

/** A routing of given choices, `[T][k]`. */
function routingOf(
  logits: Tensor,
  choices: readonly (readonly number[])[],
  rest: Partial<TokenChoice> = {},
): TokenChoice {
  const [tokens = 0, experts = 0] = logits.shape;
  const selected = backend.tensor(Int32Array.from(choices.flat()), {
    shape: [tokens, choices[0]?.length ?? 0],
  });
  const scores = softmax(logits);
  return {
    kind: "token-choice",
    experts,
    logits,
    scores,
    selected,
    indices: selected,
    outputWeights: onesLike(scores),
    ...rest,
  };
}

/** log π of choices drawn one after another without replacement, and its slopes, by plain loops. */
function logChance(
  logits: readonly number[],
  chosen: readonly number[],
): { value: number; slopes: number[] } {
  let value = 0;
  const slopes = logits.map(() => 0);
  const open = logits.map(() => true);
  for (const id of chosen) {
    if (id === logits.length) continue;
    const total = logits.reduce((sum, logit, at) => sum + (open[at] ? Math.exp(logit) : 0), 0);
    value += (logits[id] ?? 0) - Math.log(total);
    for (const [at, logit] of logits.entries()) {
      slopes[at] = (slopes[at] ?? 0) + Number(at === id) - (open[at] ? Math.exp(logit) / total : 0);
    }
    open[id] = false;
  }
  return { value, slopes };
}

const choices = [
  [2, 0],
  [1, 3],
  [0, EXPERTS],
  [3, 2],
  [1, 0],
];
const TOKENS = choices.length;
const data = draws(1, TOKENS * EXPERTS);
const rows = choices.map((_, token) => data.slice(token * EXPERTS, (token + 1) * EXPERTS));
const reward = draws(2, TOKENS);
const baseline = draws(3, TOKENS);
const mask = [true, true, true, false, true];

interface Leaves {
  readonly logits: Tensor;
  readonly baseline: Tensor;
}

const evaluate = valueAndGrad((leaves: Leaves, weight: number) =>
  reinforceLoss({
    coefficient: 1,
    reward: f64(reward, [TOKENS]),
    baselineCoefficient: weight,
  }).evaluate([
    routingOf(leaves.logits, choices, {
      mask: backend.tensor(mask),
      carry: { reinforceBaseline: leaves.baseline },
    }),
  ]),
);

describe("choiceLogProbability", () => {
  it("is the chance of drawing without replacement, at any size of logits", async () => {
    const found = await values(
      choiceLogProbability(routingOf(f64(data, [TOKENS, EXPERTS]), choices)),
    );
    for (const [token, row] of rows.entries()) {
      expect(found[token]).toBeCloseTo(logChance(row, choices[token] ?? []).value, 12);
    }
    // The first choice takes the peak: what is left must not vanish beside it.
    const steep = f64([2000, 1, 0, 0], [1, 4]);
    const [value = 0] = await values(choiceLogProbability(routingOf(steep, [[0, 1]])));
    expect(value).toBeCloseTo(1 - Math.log(Math.E + 2), 12);
  });

  it("counts the last expert that is left as certain", async () => {
    const [value = 0] = await values(
      choiceLogProbability(routingOf(f64([5, 1], [1, 2]), [[0, 1]])),
    );
    expect(value).toBeCloseTo(5 - Math.log(Math.exp(5) + Math.E), 12);
  });
});

describe("reinforceLoss", () => {
  it("has the gradient −(reward − baseline) · ∇ log π, padding left out", async () => {
    const { loss, grads } = evaluate(
      { logits: f64(data, [TOKENS, EXPERTS]), baseline: f64(baseline, [TOKENS, 1]) },
      0.5,
    );
    const counted = mask.filter(Boolean).length;
    const wanted = { loss: 0, logits: [] as number[], baseline: [] as number[] };
    for (const [token, row] of rows.entries()) {
      const { value, slopes } = logChance(row, choices[token] ?? []);
      const error = mask[token] ? (reward[token] ?? 0) - (baseline[token] ?? 0) : 0;
      wanted.loss += (-error * value + 0.5 * error ** 2) / counted;
      wanted.logits.push(...slopes.map((slope) => (-error * slope) / counted));
      wanted.baseline.push(-error / counted);
    }
    expect(await loss.item()).toBeCloseTo(wanted.loss, 12);
    const found = await values(grads.logits);
    for (const [at, slope] of wanted.logits.entries()) expect(found[at]).toBeCloseTo(slope, 12);
    const pulled = await values(grads.baseline);
    for (const [at, slope] of wanted.baseline.entries()) expect(pulled[at]).toBeCloseTo(slope, 12);
  });

  it("is unbiased: over all choices it is the gradient of the expected reward, at any baseline", async () => {
    const logits = [0.3, -1, 0.8];
    const earned = [2, -1, 0.5];
    const shares = logits.map(
      (logit) => Math.exp(logit) / logits.reduce((total, one) => total + Math.exp(one), 0),
    );
    const expected = shares.reduce((total, share, at) => total + share * (earned[at] ?? 0), 0);
    const total = [0, 0, 0];
    for (const [chosen, share] of shares.entries()) {
      const { grads } = valueAndGrad((leaves: { logits: Tensor }) =>
        reinforceLoss({
          coefficient: 1,
          reward: f64([earned[chosen] ?? 0], [1]),
        }).evaluate([
          routingOf(leaves.logits, [[chosen]], {
            carry: { reinforceBaseline: f64([0.7], [1, 1]) },
          }),
        ]),
      )({ logits: f64(logits, [1, 3]) });
      for (const [at, slope] of (await values(grads.logits)).entries()) {
        total[at] = (total[at] ?? 0) + share * slope;
      }
    }
    for (const [at, share] of shares.entries()) {
      expect(total[at]).toBeCloseTo(-share * ((earned[at] ?? 0) - expected), 12);
    }
  });

  it("is the mean over layers, and sends nothing into the reward", async () => {
    const earned = f64(reward, [TOKENS]);
    const other = f64(draws(5, TOKENS * EXPERTS), [TOKENS, EXPERTS]);
    const one = f64(data, [TOKENS, EXPERTS]);
    const loss = reinforceLoss({ coefficient: 0.1, reward: earned });
    expect(loss).toMatchObject({ name: "reinforceLoss", coefficient: 0.1 });
    const at = async (...logits: Tensor[]): Promise<number> =>
      loss.evaluate(logits.map((layer) => routingOf(layer, choices))).item();
    expect(await at(one, other)).toBeCloseTo(((await at(one)) + (await at(other))) / 2, 12);
    const { grads } = valueAndGrad((leaves: { reward: Tensor }) =>
      reinforceLoss({ coefficient: 1, reward: leaves.reward }).evaluate([routingOf(one, choices)]),
    )({ reward: earned });
    expect(grads.reward).toBeNull();
  });

  it("refuses what does not fit, by name", () => {
    const logits = f64(data, [TOKENS, EXPERTS]);
    const routing = routingOf(logits, choices);
    const short = reinforceLoss({ coefficient: 1, reward: f64([1, 2], [2]) });
    expect(() => short.evaluate([routing])).toThrow(ShapeError);
    const loss = reinforceLoss({ coefficient: 1, reward: f64(reward, [TOKENS]) });
    expect(() => loss.evaluate([])).toThrow(ConfigError);
    expect(() => loss.evaluate([{ ...routing, kind: "soft" } as never])).toThrow(UnsupportedError);
    expect(() =>
      reinforceLoss({ coefficient: 1, reward: f64([1], [1]), baselineCoefficient: -1 }),
    ).toThrow(expect.objectContaining({ key: "baselineCoefficient" }));
    expect(() => reinforceLoss({ coefficient: Number.NaN, reward: f64([1], [1]) })).toThrow(
      expect.objectContaining({ key: "coefficient" }),
    );
  });
});
