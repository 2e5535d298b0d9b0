import { Command } from "commander";
import type { Output } from "./output.ts";
import { type Surroundings, processSurroundings } from "./surroundings.ts";

/** Makes a command. */
type Make = (output: Output, surroundings: Surroundings) => Command;

/** The commands, one file each; a file is loaded with all that it needs when its command is wanted. */
const commands: Readonly<Record<string, () => Promise<Make>>> = {
  inspect: async () => (await import("./commands/inspect.ts")).inspectCommand,
  generate: async () => (await import("./commands/generate.ts")).generateCommand,
  quantize: async () => (await import("./commands/quantize.ts")).quantizeCommand,
  train: async () => (await import("./commands/train.ts")).trainCommand,
  conform: async () => (await import("./commands/conform.ts")).conformCommand,
  goldens: async () => (await import("./commands/goldens.ts")).goldensCommand,
  bench: async () => (await import("./commands/bench.ts")).benchCommand,
  completions: async () => (await import("./commands/completions.ts")).completionsCommand,
};

/** The command that tells of all others. */
const tellsAll = "completions";

/**
 * The program, with the command that a command line begins with, or with all of them where they are
 * told of: in the help, by completions, after a mistake.
 *
 * @param words the words after the program's name.
 */
export async function program(
  words: readonly string[],
  output: Output,
  surroundings: Surroundings = processSurroundings(),
): Promise<Command> {
  const [first = ""] = words;
  const alone = Object.hasOwn(commands, first) && first !== tellsAll;
  const wanted = alone ? [first] : Object.keys(commands);
  const makers = await Promise.all(wanted.map((name) => commands[name]?.()));
  const whole = new Command("moiety")
    .description("Composable Mixture-of-Experts: the command line")
    .showHelpAfterError("(add --help for the options)");
  for (const make of makers) if (make) whole.addCommand(make(output, surroundings));
  return whole;
}
