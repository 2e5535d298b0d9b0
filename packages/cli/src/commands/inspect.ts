import { Command } from "commander";
import { inspectModel } from "../inspect/inspection.ts";
import { formatInspection } from "../inspect/report.ts";
import { FOLDER_HELP, openModelFolder } from "../model-folder.ts";
import type { Output } from "../output.ts";

const EXAMPLES = `
Examples:
  moiety inspect path/to/olmoe
  moiety inspect path/to/olmoe --json | jq .parameters.active
  moiety inspect http://localhost:8080/olmoe`;

/** `moiety inspect FOLDER`: what a model is, from its configuration and headers alone. */
export function inspectCommand(output: Output): Command {
  return new Command("inspect")
    .description("tell what a model is and what it needs, from its configuration and headers alone")
    .argument("<folder>", FOLDER_HELP)
    .option("--json", "as JSON")
    .addHelpText("after", EXAMPLES)
    .action(async (given: string, { json = false }: { readonly json?: boolean }) => {
      const { checkpoint } = await openModelFolder(given);
      try {
        const found = inspectModel(checkpoint);
        if (json) output.line(JSON.stringify(found, undefined, 1));
        else for (const line of formatInspection(found)) output.line(line);
      } finally {
        await checkpoint.close();
      }
    });
}
