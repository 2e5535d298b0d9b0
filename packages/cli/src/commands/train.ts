import { resolve } from "node:path";
import {
  type TrainOptions,
  type TrainedRun,
  balanceNames,
  catalogueText,
  presetNames,
  routerNames,
  train,
  usualOptions,
} from "@moiety/lab";
import { Command, InvalidArgumentError, Option } from "commander";
import { backendNames, openBackend } from "../open-backend.ts";
import { positiveNumber, wholeNumber } from "../option-values.ts";
import type { Output } from "../output.ts";
import { type Surroundings, interruptible } from "../surroundings.ts";

interface Options extends TrainOptions {
  readonly list?: boolean;
  readonly json?: boolean;
}

/** Seeds are 32 bits. */
const MOST_SEED = 2 ** 32 - 1;
/** Far beyond what a machine of today holds. */
const MOST_EXPERTS = 65_536;

/** `moiety train`: the lab's first experiment. */
export function trainCommand(output: Output, surroundings: Surroundings): Command {
  const { calledAs = "moiety train" } = surroundings;
  const command = new Command("train")
    .description(
      "train a sparse language model, a dense one, and one whose experts go by a fixed hash of the " +
        "byte, of equal active parameters, on the same bytes of real text, and compare them: does " +
        "sparsity pay, does the router, are the experts used evenly, which expert speaks which " +
        "language?",
    )
    .configureHelp({ commandUsage: () => `${calledAs} [options]` });
  for (const option of [...sizeOptions(), ...runOptions()]) command.addOption(option);
  return command
    .option("--json", "the final figures as JSON, in the place of the table")
    .addHelpText("after", examples(calledAs))
    .action((options: Options) =>
      interruptible(surroundings, output, async (signal) => {
        if (options.list) output.write(catalogueText());
        else tell(await run(options, surroundings, signal), options, calledAs, output);
      }),
    );
}

/** What is trained. */
function sizeOptions(): Option[] {
  const { preset, presetOnReference, seed, router } = usualOptions();
  return [
    new Option(
      "--preset <name>",
      `sizes; ${preset} unless given, on backend cpu ${presetOnReference}`,
    ).choices(presetNames),
    new Option("--experts <E>", "experts in a layer; the preset's unless given").argParser(
      wholeNumber(1, MOST_EXPERTS),
    ),
    new Option("--top-k <k>", "experts for each token; the preset's unless given").argParser(
      wholeNumber(1, MOST_EXPERTS),
    ),
    new Option("--router <name>", `router of the sparse model; ${router} unless given`).choices(
      routerNames,
    ),
    new Option(
      "--balance <name>",
      "what keeps its load even; what suits the router unless given, mostly switch",
    ).choices(balanceNames),
    new Option("--list", "describe every router and every balance, a line each"),
    new Option("--text <file...>", "your own text, one domain for each file").argParser(
      (value: string, before: readonly string[] | undefined) => [...(before ?? []), path(value)],
    ),
    new Option("--seed <N>", `seed of everything random; ${seed} unless given`).argParser(
      wholeNumber(0, MOST_SEED),
    ),
  ];
}

/** How long, on what, and into which folder. */
function runOptions(): Option[] {
  return [
    new Option(
      "--minutes <M>",
      "time for all models together, in the place of the preset's steps",
    ).argParser(positiveNumber),
    new Option("--steps <N>", "length of the schedule, in the place of --minutes").argParser(
      wholeNumber(1),
    ),
    new Option("--stop-after <N>", "save and stop after N steps of the schedule").argParser(
      wholeNumber(1),
    ),
    new Option(
      "--backend <name>",
      "what computes; auto, unless given: the fastest that works here",
    ).choices(backendNames),
    new Option(
      "--threads <N>",
      "threads of the wasm backend; all there are unless given",
    ).argParser(wholeNumber(1)),
    new Option(
      "--out <folder>",
      "the run's new folder; runs/<date and time> unless given",
    ).argParser(path),
    new Option("--resume <folder>", "continue the run in this folder").argParser(path),
  ];
}

function examples(calledAs: string): string {
  const lines = [
    ["", "three models, the default text, some minutes"],
    [" --minutes 10 --out runs/long", ""],
    [" --list", "every router and every balance"],
    [" --router expertChoiceRouter", "another router"],
    [" --balance none --seed 2", "watch the experts starve"],
    [" --text letters.txt poems.txt", "your own text, one domain for each file"],
    [" --steps 400 --stop-after 100 --out runs/a", ""],
    [" --resume runs/a", "go on where it stopped, to the same bits"],
    [" --preset small --minutes 1 --json", "a first look, as JSON"],
    [" --backend wasm --threads 1", "on one thread, to the same bits"],
  ] as const;
  const width = Math.max(...lines.map(([words]) => words.length));
  const written = lines.map(([words, what]) =>
    `  ${calledAs}${what === "" ? words : `${words.padEnd(width)}  ${what}`}`.trimEnd(),
  );
  return `\nExamples:\n${written.join("\n")}`;
}

function run(
  { list: _list, json: _json, ...options }: Options,
  { status, now, date, workingFolder }: Surroundings,
  signal: AbortSignal,
): Promise<TrainedRun> {
  return train(options, {
    progress: status,
    signal,
    workingFolder,
    now,
    date,
    open: (choice) => openBackend(choice),
  });
}

function tell(
  { figures, table }: TrainedRun,
  { json = false }: Options,
  calledAs: string,
  output: Output,
): void {
  if (json) {
    output.line(JSON.stringify(figures, undefined, 1));
    return;
  }
  output.line(`\n${table}\nreport: ${figures.report}`);
  if (figures.stepsDone < figures.steps) {
    output.line(`go on with: ${calledAs} --resume ${quoted(figures.folder)}`);
  }
}

/** Reads a path, made absolute from where the program was started. */
function path(value: string): string {
  if (value !== "") return resolve(value);
  throw new InvalidArgumentError("It must not be empty.");
}

function quoted(text: string): string {
  return /^[\w./:@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
