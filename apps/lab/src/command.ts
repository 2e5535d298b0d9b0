import { ConfigError, MoietyError } from "@moiety/core";
import { writeFileAtomically } from "./atomic-file.ts";
import type { Experiment } from "./experiment-context.ts";
import { createRunFolder, datedFolder, existingRunFolder } from "./folder.ts";
import type { RunFolder } from "./folder.ts";
import { readMetrics } from "./metrics.ts";
import { parseOptions } from "./options.ts";
import type { Options } from "./options.ts";
import type { ProgressOutput } from "./progress.ts";
import { reportPage } from "./report/report.ts";
import type { ExperimentResult } from "./result.ts";
import { createRunLog } from "./run-log.ts";
import { refuseOtherSettings } from "./resumed-settings.ts";
import { newSettings } from "./settings.ts";
import type { Settings } from "./settings.ts";
import { readSettings, writeSettings } from "./settings-file.ts";
import { summarise } from "./summary.ts";
import { resultTable } from "./table.ts";
import { loadText } from "./text.ts";
import type { Text } from "./text.ts";
import { tryOut } from "./try-out.ts";

/** What a command meets of the world. */
export interface Surroundings {
  /** Takes the help and the final table. */
  readonly output: { write(text: string): unknown };
  /** Takes the progress line and errors. */
  readonly progress: ProgressOutput;
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal;
  /** Milliseconds since some moment. */
  readonly now: () => number;
  /** The time of day, for the name of a folder. */
  readonly date: () => Date;
  readonly workingFolder: string;
}

/**
 * Runs a command line to its end.
 *
 * @param words the words after the program's name.
 * @returns the exit code: 0, or 1 after an error that has been shown on one line. Errors that are
 *   none of Moiety's own are thrown.
 */
export async function runCommand(
  words: readonly string[],
  surroundings: Surroundings,
  experiment: Experiment,
): Promise<number> {
  try {
    const options = parseOptions(words, (text) => surroundings.output.write(text));
    if (options !== null) await runExperiment(options, surroundings, experiment);
    return 0;
  } catch (error) {
    if (!(error instanceof MoietyError)) throw error;
    surroundings.progress.write(`error: ${error.message.replace(/\s*\n\s*/g, " ")}\n`);
    return 1;
  }
}

async function runExperiment(
  options: Options,
  surroundings: Surroundings,
  experiment: Experiment,
): Promise<void> {
  const run =
    options.resume === undefined ? await startRun(options, surroundings) : resumeRun(options);
  const { output, signal } = surroundings;
  const context = { ...run, stopAfter: options.stopAfter ?? null };
  const log = createRunLog(context, surroundings.progress, surroundings.now);
  let result: ExperimentResult;
  try {
    const { begin, step, flush, note } = log;
    result = await experiment({ ...context, signal, begin, step, flush, note });
  } finally {
    log.end();
  }
  const { folder } = run;
  const summary = summarise(result);
  const records = readMetrics(folder.metrics, result.stepsDone);
  writeFileAtomically(folder.report, reportPage(result, summary, records));
  output.write(`\n${resultTable(result, summary)}\nreport: ${folder.report}\n`);
  if (result.stepsDone < result.steps) {
    output.write(`go on with: npm start -- --resume ${quoted(folder.path)}\n`);
  }
}

interface Run {
  readonly settings: Settings;
  readonly text: Text;
  readonly folder: RunFolder;
}

/** Makes the folder last, so that nothing is left behind by options that do not hold. */
async function startRun(options: Options, surroundings: Surroundings): Promise<Run> {
  const chosen = newSettings(options);
  const text = loadText(options.text ?? null, chosen.training.sequenceLength);
  await tryOut(chosen);
  const path = options.out ?? datedFolder(surroundings.date(), surroundings.workingFolder);
  const folder = await createRunFolder(path);
  const settings: Settings = { ...chosen, text: text.files, textDigest: text.digest };
  writeSettings(folder.settings, settings);
  return { settings, text, folder };
}

function resumeRun(options: Options): Run {
  const folder = existingRunFolder(options.resume ?? "");
  const settings = readSettings(folder.settings);
  refuseOtherSettings(options, settings, folder.path);
  const text = loadText(settings.text, settings.training.sequenceLength);
  if (text.digest !== settings.textDigest) {
    throw new ConfigError(
      `--resume ${folder.path}: the text is not the one that the run began with ` +
        `(${settings.text === null ? text.source : settings.text.join(", ")}): ` +
        "restore it, or start a new run",
      "resume",
      folder.path,
    );
  }
  return { settings, text, folder };
}

function quoted(path: string): string {
  return /^[\w./:@%+-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
