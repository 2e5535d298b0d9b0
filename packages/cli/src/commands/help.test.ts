import { describe, expect, it } from "vitest";
import { program } from "../program.ts";
import { runProgram } from "../testing/run-program.ts";

const output = { line: () => {}, write: () => {}, exit: () => {} };
const names = program(output).commands.map((command) => command.name());

describe.each(names)("moiety %s --help", (name) => {
  it("describes the command, its options, and shows examples of it", async () => {
    let text = "";
    const command = program(output).commands.find((one) => one.name() === name);
    command?.configureOutput({ writeOut: (part) => void (text += part) });
    command?.outputHelp();
    expect(text).toMatch(new RegExp(`^Usage: moiety ${name}`));
    expect(text).toMatch(new RegExp(`\\nExamples:\\n +.*moiety ${name} `));
    for (const option of command?.options ?? []) expect(option.description).not.toBe("");
  });
});

it("refuses a command that there is not", async () => {
  await expect(runProgram("genrate")).rejects.toThrow(/genrate/);
});
