import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunFolder } from "../../../../apps/lab/src/folder.ts";
import { type SmallRuns, smallRuns } from "../../../../apps/lab/src/testing/small-run.ts";
import { findBrowser, runPage } from "../../../backend-webgpu/src/browser/testing/page.ts";
import { runProgram } from "../../../cli/src/testing/run-program.ts";
import type { GenerateRequest } from "./testing/generate-page.ts";

const found = await findBrowser();
const page = fileURLToPath(new URL("testing/generate-page.ts", import.meta.url));

const PROMPT = "the wind";
const NEW_TOKENS = 24;

let runs: SmallRuns;
let run: RunFolder;
beforeAll(async () => {
  runs = await smallRuns();
  run = await runs.newFolder("saved");
  await runs.run(run);
}, 60_000);

afterAll(() => runs.dispose());

interface Continued {
  readonly promptIds: readonly number[];
  readonly ids: readonly number[];
  readonly text: string;
}

/** What `moiety generate` makes of a folder in Node. */
async function byCommandLine(
  folder: string,
  backend: string,
  temperature: number,
): Promise<Continued> {
  const options = {
    backend,
    "max-new-tokens": NEW_TOKENS,
    temperature,
  };
  const words = Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const { text, code } = await runProgram("generate", folder, PROMPT, ...words, "--json");
  expect(code).toBe(0);
  return JSON.parse(text) as Continued;
}

/** What the page makes of the same files, from its private file system. */
async function inBrowser(
  folder: string,
  prompt: readonly number[],
  temperature: number,
): Promise<unknown> {
  const names = await readdir(folder);
  const files = await Promise.all(
    names.map(async (name) => [name, await readFile(join(folder, name), "base64")] as const),
  );
  const request: GenerateRequest = {
    files: Object.fromEntries(files),
    prompt,
    maxNewTokens: NEW_TOKENS,
    temperature,
  };
  return runPage(page, request);
}

// The second has a router that only `moiety` in its config.json names.
describe.each(["model", "hashModel"] as const)("the %s that the lab saved", (name) => {
  it("is continued by the command line in bytes, on each backend alike", async () => {
    const { promptIds, ids, text } = await byCommandLine(run[name], "wasm", 1);
    expect(promptIds).toEqual([...new TextEncoder().encode(PROMPT)]);
    expect(ids).toHaveLength(NEW_TOKENS);
    expect(new Set(ids).size).toBeGreaterThan(NEW_TOKENS / 2);
    expect(text).toBe(new TextDecoder().decode(Uint8Array.from(ids)));
    expect((await byCommandLine(run[name], "cpu", 1)).ids).toEqual(ids);
  });

  it.skipIf("reason" in found).each([
    ["likeliest", 0],
    ["drawn", 1],
  ])("gives the same tokens in a browser: the %s", async (_, temperature) => {
    const { promptIds, ids } = await byCommandLine(run[name], "wasm", temperature);
    expect(await inBrowser(run[name], promptIds, temperature)).toEqual(ids);
  });
});
