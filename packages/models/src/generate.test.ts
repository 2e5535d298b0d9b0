import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import { type Backend, NumericError, apply, randomKey } from "@moiety/core";
import { type GenerateOptions, generate } from "./generate.ts";
import { initModel } from "./init-model.ts";
import type { ReadyModel } from "./load.ts";
import { sampleIndex } from "./sample.ts";
import { tinyConfigs } from "./testing/tiny.ts";

let backend: Backend;
let ready: ReadyModel;

beforeAll(async () => {
  backend = await create();
  ready = initModel(tinyConfigs["qwen2_moe"] ?? {}, randomKey(2), { backend });
});

afterAll(() => backend.dispose());

async function collect(ids: readonly number[], options: GenerateOptions): Promise<number[]> {
  const tokens: number[] = [];
  const { model, params, state } = ready;
  for await (const token of generate(model, params, state, ids, options)) tokens.push(token);
  return tokens;
}

describe("generate", () => {
  it("takes the likeliest token, as calls without a cache do", async () => {
    const { model, params, state } = ready;
    const sequence = [3, 1, 4];
    const expected: number[] = [];
    for (let count = 0; count < 5; count++) {
      const ids = backend.tensor(Int32Array.from(sequence), { shape: [1, sequence.length] });
      const logits = await apply(model, params, state, ids, { lastOnly: true }).logits.read();
      const best = logits.indexOf(Math.max(...logits));
      expected.push(best);
      sequence.push(best);
    }
    expect(await collect([3, 1, 4], { maxNewTokens: 5 })).toEqual(expected);
    expect(await collect([3, 1, 4], { maxNewTokens: 5, topK: 1, temperature: 1 })).toEqual(
      expected,
    );
  });

  it("draws the same tokens from the same seed", async () => {
    const draw = (seed: number): Promise<number[]> =>
      collect([3, 1, 4], { maxNewTokens: 12, temperature: 2, seed });
    expect(await draw(1)).toEqual(await draw(1));
    expect(await draw(1)).not.toEqual(await draw(2));
  });

  it("ends after a stop token", async () => {
    const tokens = await collect([3, 1, 4], { maxNewTokens: 12, temperature: 2, seed: 1 });
    const stop = tokens[3] ?? 0;
    const shorter = await collect([3, 1, 4], {
      maxNewTokens: 12,
      temperature: 2,
      seed: 1,
      stop: [stop],
    });
    expect(shorter).toEqual(tokens.slice(0, tokens.indexOf(stop) + 1));
    expect(await collect([1], { maxNewTokens: 0 })).toEqual([]);
  });

  it("leaves nothing behind, also when it is left early", async () => {
    const { model, params, state } = ready;
    const before = backend.statistics().liveBuffers;
    await collect([3, 1, 4], { maxNewTokens: 4 });
    expect(backend.statistics().liveBuffers).toBe(before);
    for await (const token of generate(model, params, state, [1, 2], { maxNewTokens: 9 })) {
      if (token >= 0) break;
    }
    expect(backend.statistics().liveBuffers).toBe(before);
  });

  it("refuses bad prompts and options at once, naming them", () => {
    const { model, params, state } = ready;
    const refuse = (ids: readonly number[], options: GenerateOptions, key: string): void => {
      expect(() => generate(model, params, state, ids, options)).toThrow(
        expect.objectContaining({ code: "CONFIG", key }) as Error,
      );
    };
    refuse([], { maxNewTokens: 1 }, "ids");
    refuse([13], { maxNewTokens: 1 }, "ids");
    refuse([-1], { maxNewTokens: 1 }, "ids");
    refuse([1], { maxNewTokens: 1, stop: [99] }, "stop");
    refuse([1], { maxNewTokens: -1 }, "maxNewTokens");
    refuse([1], { maxNewTokens: 1, temperature: -1 }, "temperature");
    refuse([1], { maxNewTokens: 1, topK: 0 }, "topK");
    refuse([1], { maxNewTokens: 1, seed: -1 }, "seed");
  });
});

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
  });

  it("refuses logits that are not finite", () => {
    expect(() => sampleIndex([Number.NaN, 1], 1, 0.5)).toThrow(NumericError);
  });
});
