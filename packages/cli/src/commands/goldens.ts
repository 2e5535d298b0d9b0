import { writeFile } from "node:fs/promises";
import { ConfigError } from "@moiety/core";
import { Command, Option } from "commander";
import { builtInNames } from "../backends.ts";
import type { Precision } from "../goldens/budget.ts";
import { formatFailure, formatReport, formatUnsupported } from "../goldens/report.ts";
import { runGoldens } from "../goldens/run.ts";
import { openBackend } from "../open-backend.ts";
import type { Output } from "../output.ts";

interface Options {
  readonly backend: string;
  readonly dtype: Precision;
  readonly json?: string;
}

const EXAMPLES = `
Examples:
  moiety goldens path/to/cases
  moiety goldens path/to/cases --backend wasm --dtype f32 --json report.json`;

/** `moiety goldens DIR`: holds the libraries against recorded truth cases. */
export function goldensCommand(output: Output): Command {
  return new Command("goldens")
    .description("hold the libraries against a folder of truth cases, DIR/FAMILY/CASE")
    .argument("<dir>", "folder of the cases")
    .addOption(new Option("--backend <name>", "what computes").choices(builtInNames).default("cpu"))
    .addOption(
      new Option("--dtype <dtype>", "precision of the run").choices(["f64", "f32"]).default("f64"),
    )
    .option("--json <file>", "also write the results of every case as JSON")
    .addHelpText("after", EXAMPLES)
    .action(async (folder: string, { backend: name, dtype, json }: Options) => {
      const { backend } = await openBackend({ name });
      try {
        const report = await runGoldens(folder, { backend, precision: dtype }, (result) => {
          if (result.status === "failed") output.line(formatFailure(result));
        });
        for (const line of formatUnsupported(report)) output.line(line);
        output.line(formatReport(report));
        if (json !== undefined) await writeJson(json, report);
        if (report.failed > 0 || report.unknown > 0) output.exit(1);
      } finally {
        await backend.dispose();
      }
    });
}

async function writeJson(path: string, report: unknown): Promise<void> {
  try {
    await writeFile(path, `${JSON.stringify(report, undefined, 1)}\n`);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(
      `cannot write ${path} (${why}); give --json a file in a folder that can be written`,
      "json",
      path,
      { cause },
    );
  }
}
