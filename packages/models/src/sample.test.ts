import { ConfigError, NumericError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { type SampleOptions, checkSampling, sampleIndex } from "./sample.ts";

/** Places that transformers 4.57's TopPLogitsWarper keeps, as its code says it. */
function warped(logits: readonly number[], topP: number): number[] {
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
  // torch.sort ascending; among equals the higher place first, so that the lower one is kept.
  const order = logits.map((_, index) => index);
  order.sort((a, b) => (logits[a] ?? 0) - (logits[b] ?? 0) || b - a);
  let cumulative = 0;
  return order
    .filter((index, at) => {
      cumulative += Math.exp(logits[index] ?? 0) / total;
      return at === order.length - 1 || cumulative > 1 - topP;
    })
    .toSorted((a, b) => a - b);
}

/** Places that are drawn by any of many evenly spread numbers. */
function drawn(logits: readonly number[], topP: number): number[] {
  const draws = Array.from({ length: 4096 }, (_, index) =>
    sampleIndex(logits, 1, (index + 0.5) / 4096, topP),
  );
  return [...new Set(draws)].toSorted((a, b) => a - b);
}

describe("sampleIndex", () => {
  it("follows the probabilities", () => {
    const logits = [0, Math.log(2), Math.log(5)];
    expect(sampleIndex(logits, 1, 0)).toBe(0);
    expect(sampleIndex(logits, 1, 0.124)).toBe(0);
    expect(sampleIndex(logits, 1, 0.126)).toBe(1);
    expect(sampleIndex(logits, 1, 0.374)).toBe(1);
    expect(sampleIndex(logits, 1, 0.376)).toBe(2);
    expect(sampleIndex(logits, 1, 1 - 2 ** -24)).toBe(2);
    expect(sampleIndex(logits, 0.01, 0.01)).toBe(2);
    expect(sampleIndex(logits, Number.MIN_VALUE, 0.5)).toBe(2);
  });

  it.each([0, 0.1, 0.3, 0.5, 0.62, 0.9, 0.99, 1])(
    "keeps what transformers keeps for %f",
    (topP) => {
      for (const seed of [1, 2, 3]) {
        const logits = Array.from({ length: 12 }, (_, at) => 2 * Math.sin(seed * 31 + at * 1.7));
        expect(drawn(logits, topP)).toEqual(warped(logits, topP));
      }
    },
  );

  it("takes the lower of equals first, and one at least", () => {
    expect(drawn([1, 1, 1, 1], 0.5)).toEqual([0, 1]);
    expect(drawn([1, 1, 1, 1], 0.51)).toEqual([0, 1, 2]);
    expect(drawn([0, 3, 3], 0)).toEqual([1]);
  });

  it("never draws what has no probability", () => {
    expect(drawn([-Infinity, 0, -Infinity, 0, -Infinity], 1)).toEqual([1, 3]);
    expect(sampleIndex([0, -Infinity], 1, 1 - 2 ** -24)).toBe(0);
  });

  it("takes a vocabulary of any size", () => {
    const logits = new Float32Array(300_000);
    logits[299_999] = 30;
    expect(sampleIndex(logits, 1, 0.5, 0.9)).toBe(299_999);
    expect(sampleIndex(new Float32Array(300_000), 1, 0.5)).toBe(150_000);
  });

  it.each([[Number.NaN, 1], [1, Number.NaN], [Infinity], [-Infinity], []])(
    "refuses logits that are not finite",
    (...logits) => {
      expect(() => sampleIndex(logits, 1, 0.5)).toThrow(NumericError);
    },
  );
});

it.each<[keyof SampleOptions, readonly number[]]>([
  ["temperature", [-1, Infinity, Number.NaN]],
  ["topK", [0, 1.5, -2, Number.NaN]],
  ["topP", [-0.1, 1.01, Number.NaN]],
])("%s is refused where it makes no sense", (key, values) => {
  for (const value of values) {
    const check = (): void => checkSampling({ [key]: value });
    expect(check).toThrow(ConfigError);
    expect(check).toThrow(expect.objectContaining({ key }) as Error);
  }
  expect(() => checkSampling({ temperature: 0, topK: 1, topP: 0 })).not.toThrow();
});
