import { Command, Option } from "commander";
import { type Continuation, continuePrompt, ratesText } from "../generate/continuation.ts";
import { type Prompt, type PromptOptions, readPrompt } from "../generate/prompt.ts";
import { openTraceFile } from "../generate/trace-file.ts";
import { FOLDER_HELP } from "../model-folder.ts";
import { automatic, backendNames } from "../open-backend.ts";
import { type ModelOptions, type OpenModel, withModel } from "../open-model.ts";
import { realNumber, tokenIds, wholeNumber } from "../option-values.ts";
import type { Output } from "../output.ts";
import { expertsOption, restOption } from "../quantize/format-options.ts";
import { INTERRUPTED, type Surroundings, interruptible } from "../surroundings.ts";

interface Options extends ModelOptions, PromptOptions {
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly seed: number;
  readonly trace?: string;
  readonly json?: boolean;
}

/** Enough for an answer. */
const DEFAULT_TOKENS = 128;

const EXAMPLES = `
Examples:
  moiety generate path/to/olmoe "The capital of France is"
  moiety generate path/to/qwen3 "Why is the sky blue?" --chat --temperature 0.7 --top-p 0.9
  moiety generate path/to/olmoe "Once" --quantize q4_32 --rest q8_32 --trace trace.html
  moiety generate path/to/model --ids 1,17,5 --json`;

/** `moiety generate FOLDER PROMPT`: continues a text. */
export function generateCommand(output: Output, surroundings: Surroundings): Command {
  return new Command("generate")
    .description("continue a text with a model; the text is streamed, then come the tokens/s")
    .argument("<folder>", FOLDER_HELP)
    .argument("[prompt]", "the text to continue")
    .option("--ids <list>", "token ids to continue, in the place of a text", tokenIds)
    .option("--chat", "write the prompt as a message, by the folder's chat template")
    .option("--system <text>", "a system message before it; implies --chat")
    .addOption(
      new Option("--backend <name>", "what computes; auto: the fastest that works here")
        .choices(backendNames)
        .default(automatic),
    )
    .option("--threads <number>", "threads of the wasm backend", wholeNumber(1))
    .addOption(expertsOption("--quantize"))
    .addOption(restOption())
    .option("--max-new-tokens <number>", "at most", wholeNumber(0), DEFAULT_TOKENS)
    .option(
      "--temperature <number>",
      "of the draws; 0 takes the likeliest token",
      realNumber(0, Number.POSITIVE_INFINITY),
      0,
    )
    .option("--top-k <number>", "draw from the likeliest k tokens", wholeNumber(1))
    .option("--top-p <number>", "draw from the likeliest tokens of this mass", realNumber(0, 1))
    .option("--seed <number>", "of the draws", wholeNumber(0), 0)
    .option("--trace <file>", "write where each token went: JSON lines, or a page (.html)")
    .option("--json", "everything as JSON at the end, instead of the text as it comes")
    .addHelpText("after", EXAMPLES)
    .action((folder: string, prompt: string | undefined, options: Options) =>
      interruptible(surroundings, output, (signal) =>
        withModel(folder, options, surroundings, signal, (model) =>
          run(model, prompt, options, { output, surroundings, signal }),
        ),
      ),
    );
}

interface Run {
  readonly output: Output;
  readonly surroundings: Surroundings;
  readonly signal: AbortSignal;
}

async function run(
  model: OpenModel,
  text: string | undefined,
  options: Options,
  { output, surroundings, signal }: Run,
): Promise<void> {
  const { maxNewTokens, temperature, topK, topP, seed, json = false } = options;
  const prompt = await readPrompt(model, text, options);
  const trace = options.trace === undefined ? undefined : await openTraceFile(options.trace);
  try {
    const found = await continuePrompt(
      model,
      prompt,
      { maxNewTokens, temperature, topK, topP, seed, signal, onRouted: trace?.onRouted },
      () => surroundings.now(),
      json ? () => undefined : (part) => output.write(part),
    );
    await trace?.write(model, prompt);
    if (json) output.line(JSON.stringify(jsonOf(model, prompt, found), undefined, 1));
    else output.line(`\n${ratesText(found)}`);
    if (found.end === "interrupted") output.exit(INTERRUPTED);
  } finally {
    await trace?.abandon();
  }
}

function jsonOf({ opened, config }: OpenModel, prompt: Prompt, found: Continuation): object {
  return {
    family: config.family.modelType,
    backend: opened.worker,
    promptIds: prompt.ids,
    ...found,
    text: found.text ?? null,
  };
}
