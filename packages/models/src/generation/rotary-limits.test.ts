import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import { type Backend, apply, randomKey } from "@moiety/core";
import type { RopeScaling } from "../decoder/attention-config.ts";
import { type DecoderModel, decoder } from "../decoder/decoder.ts";
import type { DecoderParams, DecoderState } from "../decoder/params.ts";
import { modelFromConfig } from "../from-config.ts";
import { generate } from "../generate.ts";
import { tinyConfigs } from "../testing/tiny.ts";
import type { GenerateOptions } from "./options.ts";
import type { RoutedToken } from "../trace/routed-token.ts";
import { rotaryLimits } from "./rotary-limits.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await create();
});
afterAll(() => backend.dispose());

const LIMIT = 7;
const scalings = {
  longrope: {
    kind: "longrope",
    originalMaxPositionEmbeddings: LIMIT,
    short: { factors: [1, 1.5, 2], scale: 1 },
    long: { factors: [5, 0.3, 4], scale: 1.3 },
  },
  dynamic: { kind: "dynamic", factor: 9, originalMaxPositionEmbeddings: LIMIT },
} as const satisfies Record<string, RopeScaling>;

/** A model with its parameters and state. */
interface Scaled {
  readonly model: DecoderModel;
  readonly params: DecoderParams;
  readonly state: DecoderState;
}

function scaled(ropeScaling: RopeScaling): Scaled {
  const { config } = modelFromConfig(tinyConfigs["qwen3_moe"] ?? {}).model;
  const model = decoder({ ...config, attention: { ...config.attention, ropeScaling } });
  return { model, ...model.init(randomKey(3), { backend, dtype: "f64" }) };
}

async function continued(
  { model, params, state }: Scaled,
  prompts: readonly (readonly number[])[],
  options: Partial<GenerateOptions>,
): Promise<number[][]> {
  const sequences = prompts.map((prompt) => [...prompt]);
  const all = { maxNewTokens: 6, ...options };
  for await (const step of generate(model, params, state, prompts, all)) {
    for (const [row, token] of step.entries()) if (token !== undefined) sequences[row]?.push(token);
  }
  return sequences;
}

/** What a sequence is continued by where nothing is kept from step to step. */
async function withoutCache(ready: Scaled, prompt: readonly number[]): Promise<number[]> {
  const { model, params, state } = ready;
  const sequence = [...prompt];
  for (let count = 0; count < 6; count++) {
    const ids = backend.tensor(Int32Array.from(sequence), { shape: [1, sequence.length] });
    const logits = await apply(model, params, state, ids, { lastOnly: true }).logits.read();
    sequence.push(logits.indexOf(Math.max(...logits)));
  }
  return sequence;
}

const PROMPT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3];

describe("rotary scalings by length", () => {
  it.each([2, 5, LIMIT, LIMIT + 1, PROMPT.length])(
    "of LongRoPE hold for all tokens, with a prompt of %d",
    async (count) => {
      const model = scaled(scalings.longrope);
      const prompt = PROMPT.slice(0, count);
      const expected = await withoutCache(model, prompt);
      const routed: RoutedToken[] = [];
      const onRouted = (token: RoutedToken): void => void routed.push(token);
      for (const prefillChunk of [1, 3, 99]) {
        routed.length = 0;
        expect(await continued(model, [prompt], { prefillChunk, onRouted })).toEqual([expected]);
        expect(routed.map(({ position }) => position)).toEqual([...expected.slice(1).keys()]);
      }
      // As padding shifts the limit, the longest prompt decides, as in transformers.
      const short = PROMPT.slice(0, 1);
      const batch = await continued(model, [short, prompt], { prefillChunk: 2 });
      expect(batch[1]).toEqual(expected);
    },
  );

  it("leave nothing behind where they change, also when a sequence has ended before", async () => {
    const model = scaled(scalings.longrope);
    const prompts = [PROMPT.slice(0, 1), PROMPT.slice(0, LIMIT - 2)];
    const before = backend.statistics().liveBuffers;
    const endless = await continued(model, prompts, {});
    expect(endless.map(({ length }) => length)).toEqual([7, LIMIT + 4]);
    const stop = endless[1]?.slice(LIMIT - 2, LIMIT - 1) ?? [];
    const [short = [], long = []] = await continued(model, prompts, { stop });
    expect(long).toHaveLength(LIMIT - 1);
    // The other one goes on up to the length where the factors change and beyond it.
    expect(short).toEqual(endless[0]?.slice(0, short.length));
    expect(stop).not.toContain(endless[0]?.[1]);
    expect(short.length).toBeGreaterThan(3);
    expect(backend.statistics().liveBuffers).toBe(before);
  });

  it.each(Object.entries(scalings))("give the same for every chunk with %s", async (_, scaling) => {
    const model = scaled(scaling);
    const whole = await continued(model, [PROMPT], {});
    for (const prefillChunk of [1, 2, 4]) {
      expect(await continued(model, [PROMPT], { prefillChunk })).toEqual(whole);
    }
  });

  it("have limits where what a cache holds changes, and only there", () => {
    expect([...rotaryLimits(scaled(scalings.longrope).model.config)]).toEqual([LIMIT]);
    expect([...rotaryLimits(scaled(scalings.dynamic).model.config)]).toEqual([]);
  });
});
