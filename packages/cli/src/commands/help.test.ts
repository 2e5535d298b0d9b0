import { describe, expect, it } from "vitest";
import { program } from "../program.ts";
import { runProgram } from "../testing/run-program.ts";

const output = { line: () => {}, write: () => {}, exit: () => {} };
const { commands } = await program([], output);
const names = commands.map((command) => command.name());

describe.each(names)("moiety %s --help", (name) => {
  it("describes the command, its options, and shows examples of it", async () => {
    let text = "";
    const command = commands.find((one) => one.name() === name);
    command?.configureOutput({ writeOut: (part) => void (text += part) });
    command?.outputHelp();
    expect(text).toMatch(new RegExp(`^Usage: moiety ${name}`));
    expect(text).toMatch(new RegExp(`\\nExamples:\\n +.*moiety ${name} `));
    for (const option of command?.options ?? []) expect(option.description).not.toBe("");
  });
});

it("loads all commands where they are told of, and else the one that is wanted", async () => {
  const loaded = async (...words: string[]): Promise<readonly string[]> =>
    (await program(words, output)).commands.map((command) => command.name());
  expect(names).toEqual(expect.arrayContaining(["inspect", "train", "bench", "completions"]));
  for (const words of [["--help"], ["help", "inspect"], ["completions", "bash"], ["genrate"]]) {
    // oxlint-disable-next-line no-await-in-loop -- in order, to see which failed
    expect(await loaded(...words)).toEqual(names);
  }
  expect(await loaded("inspect", "folder")).toEqual(["inspect"]);
  expect(await loaded("toString")).toEqual(names);
});

it("refuses a command that there is not", async () => {
  await expect(runProgram("genrate")).rejects.toThrow(/genrate/);
});
