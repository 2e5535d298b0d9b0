import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "@moiety/core";
import { CommanderError } from "commander";
import { describe, expect, it } from "vitest";
import type { Inspection } from "../inspect/inspection.ts";
import { runProgram, withFolder } from "../testing/run-program.ts";
import { saveChatModel, saveSmallModel } from "../testing/small-models.ts";

const text = "To be, or not to be, that is the question. ".repeat(6);

interface Told {
  readonly experts: string | null;
  readonly error: { klMean: number; top1Agreement: number; tokens: number } | null;
}

async function inspect(folder: string): Promise<Inspection> {
  return JSON.parse((await runProgram("inspect", folder, "--json")).text) as Inspection;
}

describe("the error", () => {
  it("is told of a text, smaller for more bits", async () => {
    await withFolder(async (folder) => {
      await saveSmallModel(folder);
      const file = join(folder, "text.txt");
      await writeFile(file, text);
      const told = async (experts: string, ...more: string[]): Promise<Told> => {
        const words = ["--experts", experts, "--text", file, "--backend", "wasm", "--json"];
        words.push(...more);
        return JSON.parse((await runProgram("quantize", folder, ...words)).text) as Told;
      };
      const [eight, four] = [await told("q8_32"), await told("q4_32")];
      expect(eight).toMatchObject({ experts: "q8_32", rest: null, out: null });
      // A window of 256 of the 258 bytes.
      expect(eight.error?.tokens).toBe(256);
      expect(eight.error?.klMean).toBeGreaterThan(0);
      expect(eight.error?.klMean ?? 1).toBeLessThan(four.error?.klMean ?? 0);
      expect(four.error?.top1Agreement).toBeGreaterThan(0.5);
      const all = await told("q8_32", "--rest", "q8_32_a8");
      expect(all).toMatchObject({ experts: "q8_32", rest: "q8_32_a8" });
      expect(all.error?.klMean).toBeGreaterThan(eight.error?.klMean ?? 1);
      expect(all.error?.klMean).toBeLessThan(four.error?.klMean ?? 0);
      const words = ["quantize", folder, "--rest", "f32", "--text", file, "--backend", "wasm"];
      const { text: line } = await runProgram(...words);
      expect(line).toMatch(/^over 256 tokens: KL 0.* the same for 100\.0%\n$/);
    });
  });
});

describe("a folder that was written", () => {
  const asked = [
    { formats: ["--experts", "q4_32"], experts: "q4_32", rest: "f32" },
    { formats: ["--rest", "q4_32_a8"], experts: "q4_32", rest: "q4_32" },
    { formats: ["--experts", "mxfp4", "--rest", "q8_32"], experts: "mxfp4", rest: "q8_32" },
  ];

  it.each(asked)("is as large as inspect says: $formats", async ({ formats, experts, rest }) => {
    await withFolder(async (folder) => {
      const [from, to] = [join(folder, "from"), join(folder, "to")];
      await saveSmallModel(from);
      await runProgram("quantize", from, to, ...formats, "--backend", "cpu");
      const [before, after] = [await inspect(from), await inspect(to)];
      expect(after).toMatchObject({ built: "model", unsupported: [] });
      expect(after.parameters).toEqual(before.parameters);
      const need = before.memory.find((one) => one.experts === experts && one.rest === rest);
      expect(after.stored.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(need?.bytes);
    });
  });

  it.each(asked)("is generated from as its model was: $formats", async ({ formats }) => {
    await withFolder(async (folder) => {
      const [from, to] = [join(folder, "from"), join(folder, "to")];
      await saveChatModel(from);
      const options = ["--backend", "cpu"];
      const { text: line, code } = await runProgram("quantize", from, to, ...formats, ...options);
      expect(code).toBe(0);
      expect(line).toMatch(new RegExp(`^note: .* in ${formats.at(-1)}, .*other loaders`));
      expect(line.endsWith(`\nwritten to ${to}\n`)).toBe(true);
      const words = ["hi", "--max-new-tokens", "6", "--json", ...options];
      const onLoadWords = formats.map((word) => (word === "--experts" ? "--quantize" : word));
      const onLoad = await runProgram("generate", from, ...words, ...onLoadWords);
      const read = await runProgram("generate", to, ...words);
      const ids = (json: string) => (JSON.parse(json) as { readonly ids: number[] }).ids;
      expect(ids(read.text)).toEqual(ids(onLoad.text));
      expect(await readFile(join(to, "chat_template.jinja"), "utf8")).toBe(
        await readFile(join(from, "chat_template.jinja"), "utf8"),
      );
    });
  });
});

describe("refusals", () => {
  it("name the option", async () => {
    await withFolder(async (folder) => {
      await saveSmallModel(folder);
      const run = (...words: string[]) =>
        runProgram("quantize", folder, "--backend", "cpu", ...words);
      await expect(run("--text", "x")).rejects.toThrow(/--experts, --rest or both/);
      await expect(run("--experts", "q8_row")).rejects.toThrow(ConfigError);
      await expect(run("--experts", "q3")).rejects.toThrow(CommanderError);
      await expect(run("--experts", "q8_row", "--text", "no/such")).rejects.toThrow(/--text/);
      const empty = join(folder, "empty.txt");
      await writeFile(empty, "");
      await expect(run("--experts", "q8_row", "--text", empty)).rejects.toThrow(/no text/);
    });
  });
});
