import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import createCpu from "@moiety/backend-cpu";
import { openCheckpoint } from "@moiety/checkpoints/node";
import { describe, expect, it } from "vitest";
import { findBrowser, runPage } from "../../../backend-webgpu/src/browser/testing/page.ts";
import { generate } from "../generate.ts";
import { loadModel } from "../load.ts";
import type { GenerateRequest } from "./testing/generate-page.ts";

const found = await findBrowser();
const page = fileURLToPath(new URL("testing/generate-page.ts", import.meta.url));
const folder = fileURLToPath(new URL("../testdata/olmoe", import.meta.url));

describe.skipIf("reason" in found)("a model in a browser's private file system", () => {
  it("gives the tokens that it gives in Node", async () => {
    const names = ["config.json", "generation_config.json", "model.safetensors"];
    const files = await Promise.all(
      names.map(async (name) => [name, await readFile(`${folder}/${name}`, "base64")] as const),
    );
    const prompt = [5, 1, 7, 3];
    const request: GenerateRequest = {
      files: Object.fromEntries(files),
      prompt,
      maxNewTokens: 12,
    };
    expect(await runPage(page, request)).toEqual(await inNode(prompt, request.maxNewTokens));
  });
});

async function inNode(prompt: readonly number[], maxNewTokens: number): Promise<number[]> {
  const backend = await createCpu();
  const { model, params, state } = await loadModel(await openCheckpoint(folder), { backend });
  const tokens: number[] = [];
  for await (const token of generate(model, params, state, prompt, { maxNewTokens })) {
    tokens.push(token);
  }
  await backend.dispose();
  return tokens;
}
