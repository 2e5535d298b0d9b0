import { readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openFolder } from "@moiety/checkpoints";
import { diskFolder } from "@moiety/checkpoints/node";
import { ConfigError, FormatError, UnsupportedError } from "@moiety/core";
import { parseTrace } from "@moiety/models";
import { readTextCodec } from "@moiety/models/text";
import { CommanderError } from "commander";
import { describe, expect, it } from "vitest";
import { requireTensor } from "../goldens/case.ts";
import { recordedCase, testdata } from "../goldens/testing/cases.ts";
import { runOn, runProgram, withFolder } from "../testing/run-program.ts";
import { saveChatModel, saveSmallModel, writeStop } from "../testing/small-models.ts";

const olmoe = join(testdata, "model-olmoe/0");

interface Result {
  readonly family: string;
  readonly backend: string;
  readonly promptIds: number[];
  readonly ids: number[];
  readonly text: string | null;
  readonly end: string;
  readonly prefill: { tokens: number; tokensPerSecond: number };
  readonly decode: { tokens: number; tokensPerSecond: number };
}

async function generate(...words: string[]): Promise<Result> {
  const { text, code } = await runProgram("generate", ...words, "--json");
  expect(code).toBe(0);
  return JSON.parse(text) as Result;
}

describe("ids", () => {
  it("are continued as Hugging Face transformers does, on every backend", async () => {
    const golden = await recordedCase("model-olmoe/0");
    const prompts = requireTensor(golden, "prompt_ids");
    const sequences = requireTensor(golden, "greedy_sequence");
    const [width = 0, length = 0] = [prompts.shape[1], sequences.shape[1]];
    const prompt = [...prompts.data.subarray(0, width)];
    const more = [...sequences.data.subarray(width, length)];
    const options = ["--ids", prompt.join(","), "--max-new-tokens", `${length - width}`];
    for (const backend of ["cpu", "wasm"]) {
      // oxlint-disable-next-line no-await-in-loop -- two small runs
      const found = await generate(olmoe, ...options, "--backend", backend);
      expect(found).toMatchObject({ family: "olmoe", promptIds: prompt, ids: more, text: null });
      expect(found.backend).toContain(backend);
      expect(found.end).toBe("length");
      expect(found.prefill.tokens).toBe(width);
      expect(found.prefill.tokensPerSecond).toBeGreaterThan(0);
      expect(found.decode.tokens).toBe(more.length - 1);
    }
    const { text } = await runProgram("generate", olmoe, ...options, "--backend", "cpu");
    expect(text).toMatch(new RegExp(`^${more.join(" ")} \nprefill ${width} tokens at .* tokens/s`));
  });
});

describe("a model of bytes", () => {
  it("streams text, then tells the rates; the same with every seed twice", async () => {
    await withFolder(async (folder) => {
      await saveSmallModel(folder);
      const words = ["generate", folder, "to be", "--backend", "cpu", "--max-new-tokens", "12"];
      const parts: string[] = [];
      const greedy = await runOn({ onWrite: (part) => parts.push(part) }, ...words);
      expect(greedy.code).toBe(0);
      expect(greedy.text).toMatch(
        /\nprefill 5 tokens at [\d.]+ tokens\/s, decode 11 tokens at [\d.]+ tokens\/s\n$/,
      );
      expect(parts.length).toBeGreaterThan(3);
      expect(greedy.status).toMatch(/^backend cpu, the reference/);
      const draw = (...more: string[]) =>
        generate(...words.slice(1), "--temperature", "1.5", ...more).then(({ ids }) => ids);
      const first = await draw("--seed", "7");
      expect(await draw("--seed", "7")).toEqual(first);
      expect(await draw("--seed", "8")).not.toEqual(first);
      const { ids } = await generate(...words.slice(1));
      expect(await draw("--top-k", "1")).toEqual(ids);
      expect(await draw("--top-p", "0")).toEqual(ids);
    });
  });

  it("ends at a stop, which is not shown", async () => {
    await withFolder(async (folder) => {
      await saveSmallModel(folder);
      const words = [folder, "to be", "--backend", "cpu", "--max-new-tokens", "8"];
      const whole = await generate(...words);
      const stop = whole.ids[4] ?? 0;
      const at = whole.ids.indexOf(stop);
      await writeStop(folder, stop);
      const found = await generate(...words);
      expect(found.ids).toEqual(whole.ids.slice(0, at + 1));
      expect(found.end).toBe("stop");
      expect(found.text).toBe(new TextDecoder().decode(Uint8Array.from(found.ids.slice(0, at))));
    });
  });

  it("ends at Ctrl-C with what there is, and exit code 130", async () => {
    await withFolder(async (folder) => {
      await saveSmallModel(folder);
      let count = 0;
      const onWrite = (_: string, interrupt: () => void): void => {
        count += 1;
        if (count === 2) interrupt();
      };
      const words = ["generate", folder, "to be", "--backend", "cpu", "--max-new-tokens", "5000"];
      const { text, code } = await runOn({ onWrite }, ...words);
      expect(code).toBe(130);
      expect(text).toMatch(/\nprefill 5 tokens at .*, decode \d\d? tokens/);
    });
  });

  it("shows on a terminal how far it has loaded, and clears it", async () => {
    await withFolder(async (folder) => {
      await saveSmallModel(folder);
      const words = ["generate", folder, "to be", "--backend", "cpu", "--max-new-tokens", "1"];
      const { status } = await runOn({ isTTY: true }, ...words);
      expect(status).toMatch(/loading \d+% at .*B\/s: model\./);
      expect(status.endsWith("\r\u001b[K")).toBe(true);
      expect((await runProgram(...words)).status).not.toContain("loading");
    });
  });

  it("runs with quantised weights", async () => {
    await withFolder(async (folder) => {
      await saveSmallModel(folder);
      const words = [folder, "to be", "--backend", "cpu", "--max-new-tokens", "4"];
      const plain = await generate(...words);
      expect((await generate(...words, "--quantize", "q8_row")).ids).toHaveLength(4);
      expect((await generate(...words, "--rest", "f32")).ids).toEqual(plain.ids);
      const all = await generate(...words, "--quantize", "q8_32_a8", "--rest", "q8_32_a8");
      expect(all.ids).toHaveLength(4);
      expect((await generate(...words, "--rest", "q8_32_a8")).ids).toEqual(all.ids);
    });
  });
});

describe("a model with a tokenizer", () => {
  it("continues text and answers messages, as the codec has them", async () => {
    await withFolder(async (folder) => {
      await saveChatModel(folder);
      const checkpoint = await openFolder(diskFolder(folder));
      const codec = await readTextCodec(diskFolder(folder), checkpoint.config.value);
      await checkpoint.close();
      const words = [folder, "Hello!", "--backend", "cpu", "--max-new-tokens", "9"];
      const plain = await generate(...words);
      expect(plain.promptIds).toEqual(codec.encode("Hello!"));
      expect(plain.text).toBe(codec.decode(plain.ids));
      const chat = await generate(...words, "--chat", "--system", "Be brief.");
      expect(chat.promptIds).toEqual(
        codec.chat([
          { role: "system", content: "Be brief." },
          { role: "user", content: "Hello!" },
        ]),
      );
    });
  });
});

describe("a trace", () => {
  it("tells of every token that went through the model", async () => {
    await withFolder(async (folder) => {
      await saveSmallModel(folder);
      const lines = join(folder, "trace.jsonl");
      const words = [folder, "to be", "--backend", "cpu", "--max-new-tokens", "4"];
      const { promptIds, ids } = await generate(...words, "--trace", lines);
      const records = parseTrace(await readFile(lines, "utf8"));
      expect(records.map(({ token }) => token)).toEqual([...promptIds, ...ids.slice(0, -1)]);
      expect(records[0]?.layers.map(({ experts }) => experts.length)).toEqual([2, 2]);
      const page = join(folder, "trace.html");
      await generate(...words, "--trace", page);
      const html = await readFile(page, "utf8");
      expect(html).toMatch(/^<!doctype html>/);
      expect(html).toContain("Where the tokens of");
      expect((await readdir(folder)).filter((name) => name.endsWith(".part"))).toEqual([]);
    });
  });
});

describe("refusals", () => {
  it.each<[string, string[], new (...given: never[]) => Error, RegExp]>([
    ["no prompt", [olmoe], ConfigError, /either a prompt or --ids/],
    ["two prompts", [olmoe, "a", "--ids", "1"], ConfigError, /either a prompt or --ids/],
    ["text without a tokenizer", [olmoe, "a"], ConfigError, /no tokenizer\.json.*token ids/],
    ["messages of ids", [olmoe, "--ids", "1", "--chat"], ConfigError, /not --ids/],
    ["ids outside the vocabulary", [olmoe, "--ids", "64"], ConfigError, /outside the vocabulary/],
    ["no folder", ["no/such", "a"], ConfigError, /no\/such/],
    ["ids that are none", [olmoe, "--ids", "1,x"], CommanderError, /whole numbers/],
    ["a count", [olmoe, "a", "--max-new-tokens", "many"], CommanderError, /whole number/],
    ["a share", [olmoe, "a", "--top-p", "2"], CommanderError, /from 0 to 1/],
    ["a backend", [olmoe, "a", "--backend", "abacus"], CommanderError, /abacus.*auto, webgpu/],
    ["a format", [olmoe, "a", "--quantize", "q2"], CommanderError, /q2.*q8_row/],
    ["a format of the rest", [olmoe, "a", "--rest", "q8_block32"], CommanderError, /f16.*q8_32_a8/],
    [
      "blocks that do not fit",
      [olmoe, "--ids", "1", "--quantize", "q4_32"],
      ConfigError,
      /whole blocks/,
    ],
    [
      "a trace that cannot be written",
      [olmoe, "--ids", "1", "--trace", "no/such/file"],
      ConfigError,
      /--trace/,
    ],
  ])("%s", async (_, words, error, message) => {
    const running = runProgram("generate", ...words, ...cpuUnless(words));
    await expect(running).rejects.toThrow(error);
    await expect(running).rejects.toThrow(message);
  });

  it("a template that is not there, files that are broken, a model that is not built", async () => {
    await withFolder(async (folder) => {
      await saveSmallModel(folder);
      const run = (...more: string[]) =>
        runProgram("generate", folder, "hi", "--backend", "cpu", ...more);
      await expect(run("--chat")).rejects.toThrow(/has no chat template/);
      await writeFile(join(folder, "tokenizer.json"), "{}");
      await expect(run()).rejects.toThrow(FormatError);
      await expect(
        runProgram("generate", folder, "--ids", "1", "--backend", "cpu"),
      ).rejects.toThrow(FormatError);
      await rm(join(folder, "tokenizer.json"));
      const path = join(folder, "config.json");
      const config = (await readFile(path, "utf8")).replace('"olmoe"', '"unheard_of"');
      await writeFile(path, config);
      await expect(run()).rejects.toThrow(UnsupportedError);
    });
  });
});

function cpuUnless(words: readonly string[]): string[] {
  return words.includes("--backend") ? [] : ["--backend", "cpu"];
}
