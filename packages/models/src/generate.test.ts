import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import { type Backend, apply, randomKey } from "@moiety/core";
import { generate } from "./generate.ts";
import type { GenerateOptions } from "./generation/options.ts";
import { initModel } from "./init-model.ts";
import type { ReadyModel } from "./load.ts";
import { tinyConfigs } from "./testing/tiny.ts";
import type { RoutedToken } from "./trace/routed-token.ts";

let backend: Backend;
let ready: ReadyModel;

beforeAll(async () => {
  backend = await create();
  ready = initModel(tinyConfigs["qwen2_moe"] ?? {}, randomKey(2), { backend, dtype: "f64" });
});

afterAll(() => backend.dispose());

async function collect(
  ids: readonly number[],
  options: GenerateOptions,
  { model, params, state }: ReadyModel = ready,
): Promise<number[]> {
  const tokens: number[] = [];
  for await (const token of generate(model, params, state, ids, options)) tokens.push(token);
  return tokens;
}

/** The steps of a batch. */
async function collectSteps(
  prompts: readonly (readonly number[])[],
  options: GenerateOptions,
): Promise<(number | undefined)[][]> {
  const { model, params, state } = ready;
  const steps: (number | undefined)[][] = [];
  for await (const step of generate(model, params, state, prompts, options)) steps.push(step);
  return steps;
}

/** What each sequence of a batch is continued by. */
async function collectAll(
  prompts: readonly (readonly number[])[],
  options: GenerateOptions,
): Promise<number[][]> {
  const steps = await collectSteps(prompts, options);
  return prompts.map((_, row) => steps.flatMap((step) => step[row] ?? []));
}

const PROMPTS = [[3, 1, 4], [1], [5, 9, 2, 6, 5, 3, 5], [8, 9]];

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
    for (const only of [{ topK: 1 }, { topP: 0 }]) {
      const options = { maxNewTokens: 5, temperature: 1, ...only };
      expect(await collect([3, 1, 4], options)).toEqual(expected);
    }
  });

  it("draws the same tokens from the same seed", async () => {
    const draw = (seed: number): Promise<number[]> =>
      collect([3, 1, 4], { maxNewTokens: 12, temperature: 2, seed });
    expect(await draw(1)).toEqual(await draw(1));
    expect(await draw(1)).not.toEqual(await draw(2));
  });

  it("draws from the likeliest alone, with topK and with topP", async () => {
    const { model, params, state } = ready;
    const input = backend.tensor(Int32Array.of(3, 1, 4), { shape: [1, 3] });
    const logits = await apply(model, params, state, input, { lastOnly: true }).logits.read();
    const order = [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0));
    const drawn = async (options: Partial<GenerateOptions>): Promise<number[]> => {
      const tokens = new Set<number>();
      for (let seed = 0; seed < 40; seed++) {
        const all = { maxNewTokens: 1, temperature: 9, seed, ...options };
        for (const token of await collect([3, 1, 4], all)) tokens.add(token);
      }
      return [...tokens].toSorted((a, b) => a - b);
    };
    const likeliest = (count: number): number[] => order.slice(0, count).toSorted((a, b) => a - b);
    expect(await drawn({ topK: 3 })).toEqual(likeliest(3));
    // At this temperature the three have nearly a third each, so that two make up a half.
    expect(await drawn({ topK: 3, topP: 0.5 })).toEqual(likeliest(2));
    const all = { maxNewTokens: 8, temperature: 2, seed: 4 };
    expect(await collect([3, 1, 4], { ...all, topK: 99 })).toEqual(await collect([3, 1, 4], all));
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

  it("gives the same tokens for every chunk of the prompt", async () => {
    const ids = [5, 9, 2, 6, 5, 3, 5];
    const options = { maxNewTokens: 4, temperature: 1, seed: 3 };
    const whole = await collect(ids, options);
    for (const prefillChunk of [1, 2, 3, 6, 7, 100]) {
      expect(await collect(ids, { ...options, prefillChunk })).toEqual(whole);
    }
    const batch = await collectAll(PROMPTS, options);
    for (const prefillChunk of [1, 3]) {
      expect(await collectAll(PROMPTS, { ...options, prefillChunk })).toEqual(batch);
    }
  });

  it("takes prompts in one piece through routers that look across tokens", async () => {
    const config = {
      ...tinyConfigs["olmoe"],
      moiety: { router: "expertChoiceRouter", losses: [] },
    };
    const across = initModel(config, randomKey(2), { backend, dtype: "f64" });
    const { model, params, state } = across;
    const ids = Array.from({ length: 7 }, (_, index) => index);
    const input = backend.tensor(Int32Array.from(ids), { shape: [1, ids.length] });
    const logits = await apply(model, params, state, input, { lastOnly: true }).logits.read();
    const options = { maxNewTokens: 1 };
    expect(await collect(ids, options, across)).toEqual([logits.indexOf(Math.max(...logits))]);
    const cut = (prefillChunk: number): unknown =>
      generate(model, params, state, ids, { ...options, prefillChunk });
    expect(() => cut(3)).toThrow(expect.objectContaining({ key: "prefillChunk" }) as Error);
    expect(() => cut(7)).not.toThrow();
  });
});

describe("a batch of prompts", () => {
  it.each<[string, Omit<GenerateOptions, "maxNewTokens">]>([
    ["greedily", {}],
    ["by chance", { temperature: 1.5, seed: 7 }],
    ["by chance among the likeliest", { temperature: 3, topK: 5, topP: 0.8, seed: 8 }],
  ])("is continued %s as its prompts alone would be", async (_, sampling) => {
    const options = { ...sampling, maxNewTokens: 6 };
    const together = await collectAll(PROMPTS, options);
    expect(together[0]).toEqual(await collect(PROMPTS[0] ?? [], options));
    // A sequence draws by its number: other neighbours change nothing.
    const [first, second, ...others] = PROMPTS as [number[], number[], ...number[][]];
    const neighbours = others.map((prompt) => [7, ...prompt.slice(1), 1, 2]);
    const again = await collectAll([first, second, ...neighbours], options);
    expect(again.slice(0, 2)).toEqual(together.slice(0, 2));
    expect(await collectAll([first, second], options)).toEqual(together.slice(0, 2));
    if (sampling.temperature !== undefined) return;
    for (const [row, prompt] of PROMPTS.entries()) {
      expect(await collect(prompt, options), `prompt ${row}`).toEqual(together[row]);
    }
  });

  it("goes on without the sequences that have ended, and ends with the last", async () => {
    const options = { maxNewTokens: 12, temperature: 2, seed: 1 };
    const endless = await collectAll(PROMPTS, options);
    const stop = [endless[0]?.[2] ?? 0, endless[2]?.[0] ?? 0];
    const expected = endless.map((tokens) => {
      const end = tokens.findIndex((token) => stop.includes(token));
      return end < 0 ? tokens : tokens.slice(0, end + 1);
    });
    const steps = await collectSteps(PROMPTS, { ...options, stop });
    expect(steps).toHaveLength(Math.max(...expected.map(({ length }) => length)));
    for (const [count, step] of steps.entries()) {
      expect(step).toEqual(expected.map((tokens) => tokens[count]));
    }
    expect(new Set(expected.map(({ length }) => length)).size).toBeGreaterThan(1);
  });

  it("may be of one prompt", async () => {
    const options = { maxNewTokens: 3, temperature: 1 };
    expect(await collectAll([[3, 1, 4]], options)).toEqual([await collect([3, 1, 4], options)]);
  });
});

describe("the end of generate", () => {
  const live = (): number => backend.statistics().liveBuffers;

  it.each<[string, readonly number[] | readonly (readonly number[])[]]>([
    ["a prompt", [3, 1, 4]],
    ["a batch", PROMPTS],
  ])("leaves nothing of %s behind, however it comes", async (_, ids) => {
    const { model, params, state } = ready;
    const before = live();
    const run = (options: GenerateOptions): AsyncGenerator<unknown, void, undefined> =>
      generate(model, params, state, ids as number[], { prefillChunk: 2, ...options });
    for await (const step of run({ maxNewTokens: 3 })) expect(step).toBeDefined();
    expect(live()).toBe(before);
    for await (const step of run({ maxNewTokens: 9 })) if (step !== undefined) break;
    expect(live()).toBe(before);
    const thrown = async (): Promise<void> => {
      for await (const step of run({ maxNewTokens: 9 }))
        throw new Error(`enough of ${String(step)}`);
    };
    await expect(thrown()).rejects.toThrow("enough of");
    expect(live()).toBe(before);
    const onRouted = (): void => {
      throw new Error("no room for records");
    };
    await expect(run({ maxNewTokens: 9, onRouted }).next()).rejects.toThrow("no room");
    expect(live()).toBe(before);
    expect(backend.statistics().refusedDonations).toBe(0);
  });

  it("comes with the signal's reason, between steps", async () => {
    const { model, params, state } = ready;
    const before = live();
    const reason = new Error("the reader left");
    const aborting = new AbortController();
    const tokens: number[] = [];
    const read = async (prompt: readonly number[]): Promise<void> => {
      const options = { maxNewTokens: 9, signal: aborting.signal };
      for await (const token of generate(model, params, state, prompt, options)) {
        tokens.push(token);
        if (tokens.length === 3) aborting.abort(reason);
      }
    };
    await expect(read([3, 1, 4])).rejects.toBe(reason);
    expect(tokens).toHaveLength(3);
    await expect(read([1])).rejects.toBe(reason);
    expect(tokens).toHaveLength(3);
    expect(live()).toBe(before);
  });

  it("comes between the chunks of a prompt too, and lets timers run", async () => {
    const aborting = new AbortController();
    const { signal } = aborting;
    const seen: RoutedToken[] = [];
    const onRouted = (token: RoutedToken): void => {
      seen.push(token);
      if (seen.length === 4) setImmediate(() => aborting.abort(new Error("later")));
    };
    const options = { maxNewTokens: 4, prefillChunk: 1, signal, onRouted };
    await expect(collect([5, 9, 2, 6, 5, 3, 5], options)).rejects.toThrow("later");
    expect(seen.length).toBeLessThan(7);
  });

  it("comes with NumericError where the model has diverged", async () => {
    const { model, params, state } = ready;
    const { shape } = params.norm;
    const norm = backend.tensor(new Float64Array(shape[0] ?? 0).fill(Number.NaN));
    const before = live();
    for (const temperature of [0, 1]) {
      const steps = generate(model, { ...params, norm }, state, [1], {
        maxNewTokens: 2,
        temperature,
      });
      await expect(steps.next()).rejects.toThrow(
        expect.objectContaining({ code: "NUMERIC" }) as Error,
      );
    }
    expect(live()).toBe(before);
    norm.dispose();
  });
});

describe("bad prompts and options", () => {
  it.each<[string, unknown, GenerateOptions]>([
    ["ids", [], { maxNewTokens: 1 }],
    ["ids", [13], { maxNewTokens: 1 }],
    ["ids", [-1], { maxNewTokens: 1 }],
    ["ids", [1.5], { maxNewTokens: 1 }],
    ["ids[1]", [[1], []], { maxNewTokens: 1 }],
    ["ids[2]", [[1], [2], [3, 13]], { maxNewTokens: 1 }],
    ["stop", [1], { maxNewTokens: 1, stop: [99] }],
    ["maxNewTokens", [1], { maxNewTokens: -1 }],
    ["maxNewTokens", [1], { maxNewTokens: Infinity }],
    ["temperature", [1], { maxNewTokens: 1, temperature: -1 }],
    ["topK", [1], { maxNewTokens: 1, topK: 0 }],
    ["topP", [1], { maxNewTokens: 1, topP: 1.5 }],
    ["seed", [1], { maxNewTokens: 1, seed: -1 }],
    ["prefillChunk", [1], { maxNewTokens: 1, prefillChunk: 0 }],
    ["capacity", [1, 2, 3], { maxNewTokens: 4, capacity: 5 }],
    ["capacity", [1], { maxNewTokens: 1, capacity: 0.5 }],
  ])("are refused at once by %s", (key, ids, options) => {
    const { model, params, state } = ready;
    expect(() => generate(model, params, state, ids as number[], options)).toThrow(
      expect.objectContaining({ code: "CONFIG", key }) as Error,
    );
  });

  it("leave a capacity that is large enough alone", async () => {
    const expected = await collect([1, 2, 3], { maxNewTokens: 4 });
    for (const capacity of [6, 40]) {
      expect(await collect([1, 2, 3], { maxNewTokens: 4, capacity })).toEqual(expected);
    }
  });
});

it("is made of calls that may leave the losses out", async () => {
  const { model, params, state } = ready;
  const ids = backend.tensor(Int32Array.of(3, 1, 4), { shape: [1, 3] });
  const [training, inference] = [true, false].map((losses) =>
    apply(model, params, state, ids, { losses }),
  );
  expect(training?.losses).toHaveLength(1);
  expect(inference?.losses).toEqual([]);
  expect(await inference?.logits.read()).toEqual(await training?.logits.read());
});
