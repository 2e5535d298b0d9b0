import { resolve } from "node:path";
import { Command, CommanderError, Option } from "commander";
import { ConfigError } from "@moiety/core";
import { backendNames } from "moiety/open-backend";
import { balances } from "./balances.ts";
import { catalogueText } from "./catalogue-text.ts";
import { integerBetween, oneOf, positiveNumber } from "./option-values.ts";
import { presets } from "./presets.ts";
import type { PresetName } from "./presets.ts";
import { routers } from "./routers.ts";
import { fallback, usualPreset } from "./settings.ts";

/** The command line, checked; what was not given is undefined. */
export interface Options {
  readonly preset?: PresetName;
  readonly minutes?: number;
  readonly steps?: number;
  readonly stopAfter?: number;
  readonly backend?: string;
  readonly threads?: number;
  /** Absolute path. */
  readonly out?: string;
  readonly seed?: number;
  readonly experts?: number;
  readonly topK?: number;
  readonly router?: string;
  readonly balance?: string;
  /** Absolute paths. */
  readonly text?: readonly string[];
  /** Absolute path. */
  readonly resume?: string;
}

const examples = `
Examples:
  npm start                                       three models, the default text, some minutes
  npm start -- --minutes 10 --out runs/long
  npm start -- --list                             every router and every balance
  npm start -- --router expertChoiceRouter        another router
  npm start -- --balance none --seed 2            watch the experts starve
  npm start -- --text letters.txt poems.txt       your own text, one domain for each file
  npm start -- --steps 400 --stop-after 100 --out runs/a
  npm start -- --resume runs/a                    go on where it stopped, to the same bits
  npm start -- --preset small --minutes 1         a first look
  npm start -- --backend wasm --threads 1         on one thread, to the same bits`;

/**
 * Reads the command line.
 *
 * @param words the words after the program's name.
 * @param write receives the help text.
 * @returns the options, or null where help or the list was asked for and written.
 * @throws ConfigError for anything unknown or out of its range, on one line.
 */
export function parseOptions(
  words: readonly string[],
  write: (text: string) => void,
): Options | null {
  const command = program(write);
  try {
    command.parse([...words], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return null;
    const line = error.message.replace(/^error: /, "").replace(/\s*\n\s*/g, " ");
    throw new ConfigError(`${line}; --help lists the options`, "arguments", words.join(" "), {
      cause: error,
    });
  }
  const { list, ...options } = command.opts<Options & { readonly list?: true }>();
  if (list === undefined) return options;
  write(catalogueText());
  return null;
}

function program(write: (text: string) => void): Command {
  const list = (names: Readonly<Record<string, unknown>>): string => Object.keys(names).join(", ");
  return new Command("npm start --")
    .description(
      "Trains a sparse language model, a dense one, and one whose experts go by a fixed hash of " +
        "the byte, of equal active parameters, on the same bytes of real text, and answers: does " +
        "sparsity pay, does the router, are the experts used evenly, which expert speaks which " +
        "language?",
    )
    .addOption(
      new Option(
        "--preset <name>",
        `sizes: ${list(presets)} (default: ${usualPreset(fallback.backend)}; on backend cpu ` +
          `${usualPreset("cpu")})`,
      ).argParser(oneOf("--preset", presets)),
    )
    .addOption(
      new Option(
        "--minutes <M>",
        "time for all models together, instead of the preset's steps",
      ).argParser(positiveNumber("--minutes")),
    )
    .addOption(
      new Option("--steps <N>", "length of the schedule, instead of --minutes").argParser(
        integerBetween("--steps", 1, 1e9),
      ),
    )
    .addOption(
      new Option("--stop-after <N>", "save and stop after N steps of the schedule").argParser(
        integerBetween("--stop-after", 1, 1e9),
      ),
    )
    .addOption(
      new Option(
        "--backend <name>",
        `where tensors live: ${backendNames.join(", ")} (default: ${fallback.backend}, the ` +
          "fastest here: webgpu on hardware, else wasm, else cpu)",
      ).argParser(oneOf("--backend", Object.fromEntries(backendNames.map((name) => [name, 0])))),
    )
    .addOption(
      new Option("--threads <N>", "threads of backend wasm (default: all there are)").argParser(
        integerBetween("--threads", 1, 64),
      ),
    )
    .addOption(
      new Option(
        "--out <folder>",
        "the run's new folder (default: runs/<date and time>)",
      ).argParser(path("--out")),
    )
    .addOption(
      new Option("--seed <N>", `seed of everything random (default: ${fallback.seed})`).argParser(
        integerBetween("--seed", 0, 2 ** 32 - 1),
      ),
    )
    .addOption(
      new Option("--experts <E>", "experts in a layer (default: the preset's)").argParser(
        integerBetween("--experts", 1, 65_536),
      ),
    )
    .addOption(
      new Option("--top-k <k>", "experts for each token (default: the preset's)").argParser(
        integerBetween("--top-k", 1, 65_536),
      ),
    )
    .addOption(
      new Option(
        "--router <name>",
        `router of the sparse model: ${list(routers)} (default: ${fallback.router})`,
      ).argParser(oneOf("--router", routers)),
    )
    .addOption(
      new Option(
        "--balance <name>",
        `keeps its load even: ${list(balances)} (default: what suits the router, mostly switch)`,
      ).argParser(oneOf("--balance", balances)),
    )
    .addOption(new Option("--list", "describe every router and every balance, a line each"))
    .addOption(
      new Option("--text <file...>", "your own text, one domain for each file").argParser(
        (value: string, before: readonly string[] | undefined) => [
          ...(before ?? []),
          path("--text")(value),
        ],
      ),
    )
    .addOption(
      new Option("--resume <folder>", "continue the run in this folder").argParser(
        path("--resume"),
      ),
    )
    .helpOption("--help", "show this text")
    .addHelpText("after", examples)
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeOut: write, writeErr: () => {}, outputError: () => {} });
}

/** Reads a path, made absolute from where the program was started. */
function path(flag: string): (value: string) => string {
  return (value) => {
    if (value !== "") return resolve(value);
    throw new ConfigError(`${flag} "" is no path: give one`, flag, value);
  };
}
