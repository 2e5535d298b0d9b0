import { ConfigError, MoietyError } from "@moiety/core";
import { writeFileAtomically } from "./atomic-file.ts";
import type { BackendChoice, OpenedBackend } from "moiety/open-backend";
import type { Experiment, ExperimentContext } from "./experiment-context.ts";
import { createRunFolder, datedFolder, existingRunFolder } from "./folder.ts";
import { introduction } from "./introduction.ts";
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
  /** Makes the backend that the run computes on. */
  open(choice: BackendChoice): Promise<OpenedBackend>;
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
  const kept = options.resume === undefined ? undefined : resumeRun(options);
  const { backend: name } = kept?.settings ?? newSettings(options);
  const opened = await surroundings.open({ name, threads: options.threads });
  try {
    const run = kept ?? (await startRun(options, opened, surroundings));
    for (const line of [opened.line, ...introduction(run)])
      surroundings.progress.write(`${line}\n`);
    await runIn({ ...run, opened, stopAfter: options.stopAfter ?? null }, surroundings, experiment);
  } finally {
    await opened.backend.dispose();
  }
}

async function runIn(
  context: Run & Pick<ExperimentContext, "opened" | "stopAfter">,
  { output, progress, signal, now }: Surroundings,
  experiment: Experiment,
): Promise<void> {
  const log = createRunLog(context, progress, now);
  const told = (): void =>
    log.note("stopping after this step and saving; interrupt again to quit without saving");
  signal.addEventListener("abort", told);
  let result: ExperimentResult;
  try {
    const { begin, step, flush, note } = log;
    result = await experiment({ ...context, signal, begin, step, flush, note });
  } finally {
    signal.removeEventListener("abort", told);
    log.end();
  }
  const { folder } = context;
  const summary = summarise(result);
  const records = readMetrics(folder.metrics, result.stepsDone);
  writeFileAtomically(folder.report, reportPage(result, summary, records));
  output.write(`\n${resultTable(result, summary)}\nreport: ${folder.report}\n`);
  if (result.stepsDone < result.steps) {
    output.write(`go on with: npm start -- --resume ${quoted(folder.path)}\n`);
  }
}

type Run = Pick<ExperimentContext, "settings" | "text" | "folder">;

/** Makes the folder last, so that nothing is left behind by options that do not hold. */
async function startRun(
  options: Options,
  { name, backend }: OpenedBackend,
  { date, workingFolder }: Surroundings,
): Promise<Run> {
  const chosen = newSettings({ ...options, backend: name });
  const text = loadText(options.text ?? null, chosen.training.sequenceLength);
  await tryOut(chosen, backend);
  const folder = await createRunFolder(options.out ?? datedFolder(date(), workingFolder));
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
