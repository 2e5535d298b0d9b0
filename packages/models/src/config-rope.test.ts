import type { JsonObject } from "@moiety/checkpoints";
import { ConfigError, UnsupportedError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { ConfigReader } from "./config-reader.ts";
import { readRope } from "./config-rope.ts";

const read = (values: JsonObject) =>
  readRope(new ConfigReader({ max_position_embeddings: 256, rope_theta: 500, ...values }, {}));

describe("rotary positions", () => {
  it("are plain where nothing is said, or `default` is", () => {
    const whole = { rope_type: "default", partial_rotary_factor: 1 };
    for (const rope of [null, { rope_type: "default" }, { type: "default" }, {}, whole]) {
      expect(read({ rope_scaling: rope })).toEqual({ ropeTheta: 500, ropeScaling: undefined });
    }
  });

  it("are read from the keys of release 5 first", () => {
    const rope_parameters = { rope_theta: 7, rope_type: "linear", factor: 2 };
    expect(read({ rope_parameters })).toEqual({
      ropeTheta: 7,
      ropeScaling: { kind: "linear", factor: 2 },
    });
  });

  it.each([
    [
      { type: "linear", factor: 2 },
      { kind: "linear", factor: 2 },
    ],
    [
      { rope_type: "dynamic", factor: 2 },
      { kind: "dynamic", factor: 2, originalMaxPositionEmbeddings: 256 },
    ],
    [
      {
        rope_type: "llama3",
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 64,
      },
      {
        kind: "llama3",
        factor: 8,
        lowFreqFactor: 1,
        highFreqFactor: 4,
        originalMaxPositionEmbeddings: 64,
      },
    ],
    [
      { rope_type: "yarn", factor: Math.E },
      {
        kind: "yarn",
        factor: Math.E,
        originalMaxPositionEmbeddings: 256,
        betaFast: 32,
        betaSlow: 1,
        truncate: true,
        attentionFactor: 1.1,
      },
    ],
    [
      {
        rope_type: "yarn",
        factor: Math.E,
        beta_fast: 8,
        beta_slow: 2,
        mscale: 2,
        mscale_all_dim: 0.5,
        original_max_position_embeddings: 32,
        truncate: false,
      },
      {
        kind: "yarn",
        factor: Math.E,
        originalMaxPositionEmbeddings: 32,
        betaFast: 8,
        betaSlow: 2,
        truncate: false,
        attentionFactor: 1.2 / 1.05,
      },
    ],
    [{ rope_type: "yarn", factor: 4, attention_factor: 3 }, { attentionFactor: 3 }],
    // Both must be there; one alone is not read.
    [{ rope_type: "yarn", factor: Math.E, mscale: 2 }, { attentionFactor: 1.1 }],
  ] as [JsonObject, object][])("%j", (rope_scaling, expected) => {
    expect(read({ rope_scaling }).ropeScaling).toMatchObject(expected);
  });

  it.each([
    [{ rope_type: "longrope" }, UnsupportedError, /rope_scaling\.rope_type is "longrope"/],
    [{ rope_type: 3 }, UnsupportedError, /rope_type is 3/],
    [{ rope_type: "toString" }, UnsupportedError, /toString/],
    [{ rope_type: "linear", factor: 2, alpha: 5 }, UnsupportedError, /rope_scaling\.alpha is 5/],
    [{ rope_type: "default", factor: 2 }, UnsupportedError, /rope_scaling\.factor is 2/],
    [{ rope_type: "linear" }, ConfigError, /factor is null/],
    [{ rope_type: "llama3", factor: 8 }, ConfigError, /low_freq_factor is null/],
    [{ rope_type: "yarn", factor: "4" }, ConfigError, /factor is "4"/],
    [{ rope_type: "yarn", factor: 4, truncate: 1 }, ConfigError, /truncate is 1/],
    [{ partial_rotary_factor: 0.5 }, UnsupportedError, /partial_rotary_factor is 0\.5/],
    [[], ConfigError, /rope_scaling is \[\]/],
  ] as [JsonObject, typeof ConfigError | typeof UnsupportedError, RegExp][])(
    "of %j are refused by name",
    (rope_scaling, kind, message) => {
      expect(() => read({ rope_scaling })).toThrow(kind);
      expect(() => read({ rope_scaling })).toThrow(message);
    },
  );
});
