import { Command } from "commander";
import { conformCommand } from "./commands/conform.ts";
import { goldensCommand } from "./commands/goldens.ts";
import type { Output } from "./output.ts";

/** The program: one file a command. */
export function program(output: Output): Command {
  return new Command("moiety")
    .description("Composable Mixture-of-Experts: the command line")
    .addCommand(conformCommand(output))
    .addCommand(goldensCommand(output))
    .showHelpAfterError("(add --help for the options)");
}
