import { Argument, Command } from "commander";
import { bashScript } from "../completions/bash.ts";
import { fishScript } from "../completions/fish.ts";
import { type CommandWords, wordsOf } from "../completions/words.ts";
import { zshScript } from "../completions/zsh.ts";
import type { Output } from "../output.ts";

type Shell = "bash" | "zsh" | "fish";

const SCRIPTS: Readonly<Record<Shell, (commands: readonly CommandWords[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

const EXAMPLES = `
Examples:
  eval "$(moiety completions bash)"     # in ~/.bashrc
  eval "$(moiety completions zsh)"      # in ~/.zshrc, after compinit
  moiety completions fish | source      # in ~/.config/fish/config.fish`;

/** `moiety completions SHELL`: a script that completes what is typed. */
export function completionsCommand(output: Output): Command {
  return new Command("completions")
    .description("print a script that lets a shell complete commands, options and their values")
    .addArgument(new Argument("<shell>", "the shell").choices(Object.keys(SCRIPTS)))
    .option("--json", "the commands and options themselves, as JSON")
    .addHelpText("after", EXAMPLES)
    .action((shell: Shell, { json = false }: { readonly json?: boolean }, command: Command) => {
      const words = wordsOf(command.parent ?? command);
      output.write(json ? `${JSON.stringify(words, undefined, 1)}\n` : SCRIPTS[shell](words));
    });
}
