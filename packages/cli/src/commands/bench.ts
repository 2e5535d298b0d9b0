import { join, resolve } from "node:path";
import { UnsupportedError } from "@moiety/core";
import { Argument, Command } from "commander";
import { wholeNumber } from "../option-values.ts";
import type { Output } from "../output.ts";
import type { Surroundings } from "../surroundings.ts";
import { workspaceAbove } from "../workspace.ts";

/** The benchmarks that the repository has. */
export const BENCHMARKS: readonly string[] = ["kernels", "moe", "generate", "webgpu", "gpu"];

interface Options {
  readonly json?: string;
  readonly samples?: number;
  readonly peers: boolean;
}

const EXAMPLES = `
Other options go to the benchmark; bench/README.md in the repository tells of them.

Examples:
  moiety bench                            kernels, then webgpu
  moiety bench moe --json rows.json       MoE layers on the CPU, beside onnxruntime
  moiety bench generate --layers 1        whole models on the CPU, beside llama.cpp
  moiety bench kernels --backend wasm --samples 5`;

/** `moiety bench`: the benchmarks of the repository. */
export function benchCommand(output: Output, surroundings: Surroundings): Command {
  return new Command("bench")
    .description("measure, and beside us those who do the same; in Moiety's repository alone")
    .addArgument(
      new Argument("[benchmark]", "which; kernels and webgpu unless given").choices(BENCHMARKS),
    )
    .argument("[more...]", "options of the benchmark")
    .allowUnknownOption()
    .option("--json <file>", "also write the rows as JSON")
    .option("--samples <number>", "runs that are timed", wholeNumber(1))
    .option("--no-peers", "measure ours alone; nothing is installed")
    .addHelpText("after", EXAMPLES)
    .action(async (name: string | undefined, more: readonly string[], options: Options) => {
      const words = name === undefined ? [] : [name, ...wordsOf(options), ...more];
      const code = await surroundings.runNode(launcher(), ["bench", ...words]);
      if (code !== 0) output.exit(code);
    });
}

/** The options that this command reads itself, as words again. */
function wordsOf({ json, samples, peers }: Options): string[] {
  return [
    // The benchmark runs in the repository's folder.
    ...(json === undefined ? [] : ["--json", resolve(json)]),
    ...(samples === undefined ? [] : ["--samples", String(samples)]),
    ...(peers ? [] : ["--no-peers"]),
  ];
}

/** The program that starts the repository's tasks. @throws UnsupportedError outside of it */
export function launcher(folder: string = import.meta.dirname): string {
  const workspace = workspaceAbove(folder);
  if (workspace !== undefined) return join(workspace, "run.mjs");
  throw new UnsupportedError(
    "the benchmarks and what they are measured against are part of Moiety's repository and do not " +
      "come with this package: clone the repository, and there run `npm run bench`",
    "bench",
  );
}
