import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import type { Backend } from "@moiety/core";
import { generate } from "../generate.ts";
import { type ReadyModel, loadModel } from "../load.ts";
import { type Truth, openTruth } from "../testing/truth.ts";

const families = readdirSync(new URL("../testdata/", import.meta.url));

describe.each(families)("%s, continued greedily", (family) => {
  let truth: Truth;
  let backend: Backend;
  let ready: ReadyModel;
  let prompt: number[];
  let recorded: number[];

  beforeAll(async () => {
    backend = await create();
    truth = await openTruth(family);
    ready = await loadModel(truth.checkpoint, { backend, dtype: "f64" });
    prompt = [...(await truth.tensor("prompt_ids")).data];
    recorded = [...(await truth.tensor("greedy_sequence.f64")).data].slice(prompt.length);
  });

  afterAll(async () => {
    await truth.close();
    await backend.dispose();
  });

  const alone = async (ids: readonly number[], maxNewTokens: number): Promise<number[]> => {
    const { model, params, state } = ready;
    const tokens: number[] = [];
    for await (const token of generate(model, params, state, ids, { maxNewTokens })) {
      tokens.push(token);
    }
    return tokens;
  };

  it.each([1, 3, undefined])(
    "gives what was recorded in chunks of %s, padded or not",
    async (prefillChunk) => {
      const { model, params, state } = ready;
      const maxNewTokens = recorded.length;
      // Of prompts shorter and longer than its own, so that it is padded and pads.
      const prompts = [prompt.slice(-2), prompt, [...prompt, ...prompt.slice(0, 5)]];
      const tokens: number[][] = prompts.map(() => []);
      for await (const step of generate(model, params, state, prompts, {
        maxNewTokens,
        prefillChunk,
      })) {
        for (const [row, token] of step.entries())
          if (token !== undefined) tokens[row]?.push(token);
      }
      expect(tokens[1]).toEqual(recorded);
      if (prefillChunk !== undefined) return;
      for (const [row, ids] of prompts.entries()) {
        expect(tokens[row]).toEqual(await alone(ids, maxNewTokens));
      }
    },
  );
});
