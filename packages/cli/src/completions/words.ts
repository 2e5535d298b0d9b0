import type { Command } from "commander";

/** An option, as completions know it. */
export interface OptionWords {
  /** `--backend`. */
  readonly flag: string;
  readonly description: string;
  /** Whether a value follows. */
  readonly takesValue: boolean;
  /** The values that there are; none where any may stand, which may be a file. */
  readonly choices: readonly string[];
}

/** A command, as completions know it. */
export interface CommandWords {
  readonly name: string;
  readonly description: string;
  readonly options: readonly OptionWords[];
  /** Values of its first argument; none where any may stand, which may be a file. */
  readonly choices: readonly string[];
}

/** What can be completed of a program: its commands, and of each the options. */
export function wordsOf(program: Command): CommandWords[] {
  return program.commands.map((command) => ({
    name: command.name(),
    description: command.description(),
    choices: command.registeredArguments[0]?.argChoices ?? [],
    options: command.options.flatMap(({ long, description, required, optional, argChoices }) =>
      long
        ? [{ flag: long, description, takesValue: required || optional, choices: argChoices ?? [] }]
        : [],
    ),
  }));
}
