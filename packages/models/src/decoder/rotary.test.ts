import create from "@moiety/backend-cpu";
import { ConfigError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import type { AttentionConfig, RopeScaling } from "./attention-config.ts";
import { rotaryAngles, rotaryTables, yarnFactor } from "./rotary.ts";

const THETA = 10000;

const angles = (ropeScaling: RopeScaling | undefined, length = 8, width = 8, ropeTheta = THETA) =>
  rotaryAngles({ ropeTheta, ropeScaling }, width, length);

/** θ^(−2i/8) for the four pairs of a head of 8. */
const PLAIN = [1, 0.1, 0.01, 0.001];

function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  for (const [at, value] of expected.entries())
    expect((actual[at] ?? 0) / value).toBeCloseTo(1, 12);
}

const yarn = {
  kind: "yarn",
  factor: 4,
  originalMaxPositionEmbeddings: 64,
  betaFast: 2,
  betaSlow: 0.1,
  truncate: false,
  attentionFactor: 1.25,
} as const;

describe("angles", () => {
  it("are those of the base where nothing is stretched", () => {
    const { frequencies, scale } = angles(undefined);
    expectClose(frequencies, PLAIN);
    expect(scale).toBe(1);
  });

  it("are divided by a factor", () => {
    expectClose(
      angles({ kind: "linear", factor: 4 }).frequencies,
      PLAIN.map((each) => each / 4),
    );
  });

  it("come of a base that grows with long sequences", () => {
    const dynamic = { kind: "dynamic", factor: 3, originalMaxPositionEmbeddings: 10 } as const;
    expectClose(angles(dynamic, 10).frequencies, PLAIN);
    // 3 · 25 / 10 − 2 = 5.5, to the power of 8 / 6.
    const base = THETA * 5.5 ** (8 / 6);
    expectClose(
      angles(dynamic, 25).frequencies,
      [0, 1, 2, 3].map((pair) => base ** (-pair / 4)),
    );
  });

  it("are stretched for long waves, kept for short ones, and blended between", () => {
    const llama = {
      kind: "llama3",
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositionEmbeddings: 128,
    } as const;
    // Waves of 2π, 20π, 200π and 2000π; kept below 32, stretched above 128.
    const kept = (128 / (20 * Math.PI) - 1) / 3;
    expectClose(angles(llama).frequencies, [1, 0.1 * (kept + (1 - kept) / 8), 0.01 / 8, 0.001 / 8]);
  });

  it("have a factor for each pair, others beyond the original length", () => {
    const longrope = {
      kind: "longrope",
      originalMaxPositionEmbeddings: 10,
      short: { factors: [1, 2, 3, 4], scale: 1.1 },
      long: { factors: [5, 6, 7, 8], scale: 1.7 },
    } as const;
    const short = angles(longrope, 10);
    expectClose(short.frequencies, [1, 0.05, 0.01 / 3, 0.00025]);
    expect(short.scale).toBe(1.1);
    const long = angles(longrope, 11);
    expectClose(long.frequencies, [0.2, 0.1 / 6, 0.01 / 7, 0.001 / 8]);
    expect(long.scale).toBe(1.7);
  });

  it("blend along YaRN's ramp, whose ends may be rounded outwards", () => {
    // The pairs that turn n times in 64 tokens: 4 · ln(64 / 2πn) / ln(10000), here within pairs 0 and 2.
    const pairOf = (turns: number): number =>
      (4 * Math.log(64 / (2 * Math.PI * turns))) / Math.log(THETA);
    const [low, high] = [pairOf(yarn.betaFast), pairOf(yarn.betaSlow)];
    expect([Math.floor(low), Math.ceil(high)]).toEqual([0, 3]);
    const ramp = (from: number, to: number): number[] =>
      PLAIN.map((each, pair) => {
        const part = Math.min(Math.max((pair - from) / (to - from), 0), 1);
        return part * (each / 4) + (1 - part) * each;
      });
    expectClose(angles(yarn).frequencies, ramp(low, high));
    expectClose(angles({ ...yarn, truncate: true }).frequencies, ramp(0, 3));
    expect(angles(yarn).scale).toBe(1.25);
  });

  it("step where both ends of the ramp are one", () => {
    const steep = { ...yarn, betaFast: 50, betaSlow: 40, truncate: true };
    expectClose(angles(steep).frequencies, [1, 0.025, 0.0025, 0.00025]);
  });

  it("are refused for what has no name here", () => {
    const strange = { kind: "ntk" } as unknown as RopeScaling;
    expect(() => angles(strange)).toThrow(ConfigError);
    expect(() => angles(strange)).toThrow(/no rotary scaling is called ntk/);
  });
});

it("weighs YaRN's factor, which is 1 where nothing is stretched", () => {
  expect(yarnFactor(40)).toBeCloseTo(1.3688879454113936, 14);
  expect(yarnFactor(40, 0.6)).toBeCloseTo(1 + 0.06 * Math.log(40), 14);
  expect(yarnFactor(1)).toBe(1);
  expect(yarnFactor(0.5)).toBe(1);
});

it("makes one table for all layers that turn alike", async () => {
  const backend = await create();
  const attention: AttentionConfig = {
    numAttentionHeads: 1,
    numKeyValueHeads: 1,
    headDim: 8,
    ropeTheta: THETA,
    headNorm: "none",
    qkvBias: false,
    outputBias: false,
    dropout: 0,
  };
  const span = { start: 3, end: 5, length: 5, dtype: "f64" } as const;
  const other = { ...attention, ropeScaling: { kind: "linear", factor: 2 } } as const;
  const [first, second, third] = rotaryTables(
    backend,
    [attention, { ...attention, window: 2 }, other],
    span,
  );
  expect(second).toBe(first);
  expect(third).not.toBe(first);
  expect(first?.cos.shape).toEqual([2, 4]);
  expectClose(
    [...((await first?.cos.read()) ?? [])],
    [3, 4].flatMap((position) => PLAIN.map((each) => Math.cos(position * each))),
  );
  await backend.dispose();
});
