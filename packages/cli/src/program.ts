import { Command } from "commander";
import { completionsCommand } from "./commands/completions.ts";
import { conformCommand } from "./commands/conform.ts";
import { generateCommand } from "./commands/generate.ts";
import { goldensCommand } from "./commands/goldens.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { quantizeCommand } from "./commands/quantize.ts";
import type { Output } from "./output.ts";
import { type Surroundings, processSurroundings } from "./surroundings.ts";

/** The program: one file a command. */
export function program(
  output: Output,
  surroundings: Surroundings = processSurroundings(),
): Command {
  return new Command("moiety")
    .description("Composable Mixture-of-Experts: the command line")
    .addCommand(inspectCommand(output))
    .addCommand(generateCommand(output, surroundings))
    .addCommand(quantizeCommand(output, surroundings))
    .addCommand(conformCommand(output))
    .addCommand(goldensCommand(output))
    .addCommand(completionsCommand(output))
    .showHelpAfterError("(add --help for the options)");
}
