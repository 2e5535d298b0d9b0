import { saveCheckpoint } from "@moiety/checkpoints/node";
import { ConfigError } from "@moiety/core";
import {
  type ExpertFormat,
  type QuantizationError,
  type ReadyModel,
  type RestFormat,
  quantizationError,
  quantize,
  saveModel,
} from "@moiety/models";
import { Command, Option } from "commander";
import { FOLDER_HELP } from "../model-folder.ts";
import { automatic, backendNames } from "../open-backend.ts";
import { type OpenModel, causalOf, withModel } from "../open-model.ts";
import type { Output } from "../output.ts";
import { expertsOption, restOption } from "../quantize/format-options.ts";
import { textWindows } from "../quantize/text-windows.ts";
import { copyTokenizer } from "../quantize/tokenizer-files.ts";
import { type Surroundings, interruptible } from "../surroundings.ts";

interface Options {
  readonly experts?: ExpertFormat;
  readonly rest?: RestFormat;
  readonly text?: string;
  readonly backend: string;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  moiety quantize path/to/olmoe path/to/olmoe-q4 --experts q4_32 --rest f16
  moiety quantize path/to/olmoe path/to/olmoe-q8 --rest q8_32_a8
  moiety quantize path/to/olmoe --experts q8_32 --text some.txt --json`;

/** `moiety quantize FOLDER OUT`: holds a model's weights in fewer bits. */
export function quantizeCommand(output: Output, surroundings: Surroundings): Command {
  return new Command("quantize")
    .description(
      "hold a model's weights in fewer bits, and tell by --text how far its answers are from those " +
        "of the whole model",
    )
    .argument("<folder>", FOLDER_HELP)
    .argument("[out]", "folder to write; none to be told the error alone")
    .addOption(expertsOption("--experts"))
    .addOption(restOption())
    .option("--text <file>", "a text on which both models are compared")
    .addOption(
      new Option("--backend <name>", "what computes; auto: the fastest that works here")
        .choices(backendNames)
        .default(automatic),
    )
    .option("--json", "as JSON")
    .addHelpText("after", EXAMPLES)
    .action((folder: string, out: string | undefined, options: Options) => {
      checkOptions(out, options);
      const { backend, experts, rest, text } = options;
      // To be compared, the whole model has to stand beside the other.
      const onLoad = text === undefined ? { quantize: experts, rest } : {};
      return interruptible(surroundings, output, (signal) =>
        withModel(folder, { backend, ...onLoad }, surroundings, signal, (model) =>
          run(model, out, options, output),
        ),
      );
    });
}

function checkOptions(out: string | undefined, { experts, rest, text }: Options): void {
  if (experts === undefined && rest === undefined) {
    throw new ConfigError("give --experts, --rest or both", "experts", experts);
  }
  if (out === undefined && text === undefined) {
    throw new ConfigError("give a folder to write, a text to compare on, or both", "out", out);
  }
}

async function run(
  model: OpenModel,
  out: string | undefined,
  { experts, rest, text, json = false }: Options,
  output: Output,
): Promise<void> {
  const ids = text === undefined ? undefined : await textWindows(model, text);
  const small = ids === undefined ? model : await quantize(model, { experts, rest });
  const error = ids && (await quantizationError(inOrder(model), inOrder(small), ids));
  const notes = out === undefined ? [] : await save(small, model, out);
  if (json) {
    const told = { experts: experts ?? null, rest: rest ?? null, out: out ?? null };
    output.line(JSON.stringify({ ...told, error: error ?? null, notes }, undefined, 1));
    return;
  }
  if (error) output.line(errorText(error));
  for (const note of notes) output.line(`note: ${note}`);
  if (out !== undefined) output.line(`written to ${out}`);
}

/** Writes the folder; a line for each thing that other loaders make something else of. */
async function save(small: ReadyModel, { folder }: OpenModel, out: string): Promise<string[]> {
  const notes = await saveModel((content) => saveCheckpoint(out, content), small);
  await copyTokenizer(folder, out);
  return notes;
}

/** As it is run: no token sees a later one. */
function inOrder(ready: ReadyModel): ReadyModel {
  return { ...ready, model: causalOf(ready) };
}

const PERCENT = 100;

function errorText(error: QuantizationError): string {
  const { klMean, klMax, logitMax, logitRms, top1Agreement, tokens } = error;
  const digits = (value: number): string => value.toPrecision(3);
  return (
    `over ${tokens} tokens: KL ${digits(klMean)} nats on average, ${digits(klMax)} at most; ` +
    `logits off by ${digits(logitRms)} (rms), ${digits(logitMax)} at most; the likeliest token ` +
    `is the same for ${(PERCENT * top1Agreement).toFixed(1)}%`
  );
}
