import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { CommanderError } from "commander";
import { describe, expect, it } from "vitest";
import type { CommandWords } from "../completions/words.ts";
import { runProgram } from "../testing/run-program.ts";

const run = promisify(execFile);

async function script(shell: string): Promise<string> {
  return (await runProgram("completions", shell)).text;
}

/** What bash offers for a line whose last word is being typed. */
async function offered(...words: string[]): Promise<string[]> {
  const line = ["moiety", ...words].map((word) => `'${word}'`).join(" ");
  const typed = `COMP_WORDS=(${line}); COMP_CWORD=${words.length}; _moiety`;
  const { stdout } = await run("bash", [
    "-c",
    `${await script("bash")}\n${typed}; printf '%s\\n' "\${COMPREPLY[@]}"`,
  ]);
  return stdout.split("\n").filter((word) => word !== "");
}

describe("bash", () => {
  it("is offered commands, options, and the values of both", async () => {
    expect(await offered("")).toEqual([
      "inspect",
      "generate",
      "quantize",
      "train",
      "conform",
      "goldens",
      "bench",
      "completions",
    ]);
    expect(await offered("con")).toEqual(["conform"]);
    expect(await offered("inspect", "--")).toEqual(["--json", "--help"]);
    expect(await offered("generate", "folder", "--top")).toEqual(["--top-k", "--top-p"]);
    expect(await offered("generate", "folder", "--backend", "")).toEqual([
      "auto",
      "webgpu",
      "wasm",
      "cpu",
    ]);
    expect(await offered("quantize", "a", "b", "--experts", "mx")).toEqual(["mxfp4"]);
    expect(await offered("quantize", "a", "--rest", "q8")).toEqual(["q8_row", "q8_32", "q8_32_a8"]);
    expect(await offered("train", "--preset", "")).toEqual(["anchor", "small"]);
    expect(await offered("bench", "k")).toEqual(["kernels"]);
    expect(await offered("completions", "")).toEqual(["bash", "zsh", "fish"]);
  });

  it("is left to complete files", async () => {
    expect(await offered("inspect", "")).toEqual([]);
    expect(await offered("generate", "folder", "--trace", "")).toEqual([]);
  });
});

describe.each(["zsh", "fish"])("%s", (shell) => {
  it("is told of every command, option and value", async () => {
    const text = await script(shell);
    const { text: json } = await runProgram("completions", shell, "--json");
    const commands = JSON.parse(json) as CommandWords[];
    expect(commands.map(({ name }) => name)).toContain("goldens");
    for (const { name, options } of commands) {
      expect(text).toContain(name);
      for (const { flag, choices } of options) {
        expect(text).toContain(flag.replace(/^--/, shell === "zsh" ? "--" : ""));
        expect(text).toContain(choices.join(" "));
      }
    }
  });
});

it("refuses other shells", async () => {
  await expect(runProgram("completions", "csh")).rejects.toThrow(CommanderError);
});
