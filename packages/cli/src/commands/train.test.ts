import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ConfigError } from "@moiety/core";
import { type RunFigures, balanceNames, catalogueText, routerNames } from "@moiety/lab";
import { CommanderError } from "commander";
import { describe, expect, it } from "vitest";
import { runOn, runProgram, withFolder } from "../testing/run-program.ts";

/** A text that is long enough, in a folder of its own. */
async function withText(work: (text: string, folder: string) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    const text = join(folder, "text.txt");
    writeFileSync(text, "the wind blows over the hills. ".repeat(300));
    await work(text, folder);
  });
}

/** As little as there is to train. */
const LITTLE = ["--preset", "small", "--experts", "2", "--backend", "wasm", "--threads", "1"];

describe("moiety train", () => {
  it("trains, tells the table, and goes on where it stopped", async () => {
    await withText(async (text, folder) => {
      const out = join(folder, "a run");
      const words = [...LITTLE, "--text", text, "--steps", "2", "--stop-after", "1", "--out", out];
      const begun = await runProgram("train", ...words);
      expect(begun.code).toBe(0);
      expect(begun.status).toMatch(/^backend wasm, 1 thread/);
      expect(begun.text).toContain(`report: ${join(out, "report.html")}`);
      expect(begun.text).toContain(`\ngo on with: moiety train --resume '${out}'\n`);
      const ended = await runProgram("train", "--resume", out, "--seed", "1", "--json");
      const figures = JSON.parse(ended.text) as RunFigures;
      expect(figures).toMatchObject({ ending: "finished", steps: 2, stepsDone: 2, folder: out });
      expect(figures.comparisons).toHaveLength(3);
      for (const { folder: model, heldOutBitsPerByte } of Object.values(figures.models)) {
        expect(heldOutBitsPerByte).toBeGreaterThan(0);
        expect(existsSync(join(model, "model.safetensors"))).toBe(true);
      }
      expect(readFileSync(figures.report, "utf8")).toContain("<!doctype html>");
    });
  });

  it("saves and ends at an interrupt, and says how to go on in the words it was begun with", async () => {
    await withText(async (text, folder) => {
      const { text: told, code } = await runOn(
        { calledAs: "npm start --", workingFolder: folder, interruptAt: /training 50 of/ },
        "train",
        ...LITTLE,
        "--text",
        text,
        "--steps",
        "50",
      );
      expect(code).toBe(0);
      const place = join(folder, "runs", "2026-11-22-09.05.07");
      expect(told).toContain(`\ngo on with: npm start -- --resume ${place}\n`);
      expect(existsSync(join(place, "checkpoint"))).toBe(true);
    });
  });

  it("lists the catalogue", async () => {
    const { text } = await runProgram("train", "--list", "--seed", "3");
    expect(text).toBe(catalogueText());
  });

  it("names every choice and default in its help", async () => {
    let help = "";
    await runOn({ onWrite: (part) => (help += part) }, "train", "--help").catch(() => {});
    expect(help).toMatch(/^Usage: moiety train \[options\]/);
    const flat = help.replaceAll(/\s+/g, " ");
    for (const name of [...routerNames, ...balanceNames]) expect(flat).toContain(`"${name}"`);
    expect(flat).toContain("anchor unless given, on backend cpu small");
  });

  it.each([
    [["extra"], /too many arguments/],
    [["--bogus"], /unknown option '--bogus'/],
    [["--steps"], /argument missing/],
    [["--steps", "0"], /whole number from 1/],
    [["--steps", "1e3"], /whole number from 1/],
    [["--stop-after", "-3"], /whole number from 1/],
    [["--seed", "4294967296"], /from 0 to 4294967295/],
    [["--minutes", "0"], /number above 0/],
    [["--minutes", "Infinity"], /number above 0/],
    [["--experts", "0"], /whole number from 1 to/],
    [["--threads", "x"], /whole number from 1/],
    [["--balance", "even"], /Allowed choices are switch, bias, none/],
    [["--router", "toString"], /Allowed choices are mixtralRouter/],
    [["--preset", "huge"], /Allowed choices are anchor, small/],
    [["--backend", "gpu"], /Allowed choices are auto, webgpu, wasm, cpu/],
    [["--out", ""], /must not be empty/],
  ])("refuses %j", async (words, message) => {
    await expect(runProgram("train", ...words)).rejects.toThrow(CommanderError);
    await expect(runProgram("train", ...words)).rejects.toThrow(message);
  });

  it.each([
    [["--steps", "3", "--minutes", "1"], /give one of them/],
    [["--resume", "/nowhere"], /there is no such folder/],
    [["--backend", "cpu", "--threads", "2"], /--threads 2 is nothing to backend cpu/],
  ])("refuses %j with an error of ours", async (words, message) => {
    await expect(runProgram("train", ...words)).rejects.toThrow(ConfigError);
    await expect(runProgram("train", ...words)).rejects.toThrow(message);
  });
});
