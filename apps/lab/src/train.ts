import { ConfigError } from "@moiety/core";
import { writeFileAtomically } from "./atomic-file.ts";
import type { Experiment, ExperimentContext } from "./experiment-context.ts";
import { runExperiment } from "./experiment.ts";
import { type RunFigures, figuresOf } from "./figures.ts";
import { createRunFolder, datedFolder, existingRunFolder } from "./folder.ts";
import { introduction } from "./introduction.ts";
import { readMetrics } from "./metrics.ts";
import type { TrainOptions } from "./options.ts";
import type { ProgressOutput } from "./progress.ts";
import { reportPage } from "./report/report.ts";
import { refuseOtherSettings } from "./resumed-settings.ts";
import type { ExperimentResult } from "./result.ts";
import { createRunLog } from "./run-log.ts";
import { readSettings, writeSettings } from "./settings-file.ts";
import { type Settings, newSettings } from "./settings.ts";
import { summarise } from "./summary.ts";
import { resultTable } from "./table.ts";
import { loadText } from "./text.ts";
import { tryOut } from "./try-out.ts";
import type { Worker, WorkerChoice } from "./worker.ts";

/** What a run meets of the world. */
export interface TrainSurroundings {
  /** Takes what is said of the run while it goes on. */
  readonly progress: ProgressOutput;
  /** When it aborts, the step under way is finished and everything is saved. */
  readonly signal: AbortSignal;
  /** Where `runs/` lies. */
  readonly workingFolder: string;
  /** Milliseconds since some moment. */
  now(): number;
  /** The time of day, for the name of a folder. */
  date(): Date;
  /** Makes the backend that the run computes on. @throws ConfigError for a choice that is none */
  open(choice: WorkerChoice): Promise<Worker>;
}

/** What a run came to. */
export interface TrainedRun {
  readonly figures: RunFigures;
  /** The same for a terminal: a table, with what it says in sentences. */
  readonly table: string;
}

/**
 * Trains a sparse language model, a dense one, and one whose experts go by a fixed hash of the byte,
 * of equal active parameters, on the same bytes of real text, and compares them; or goes on with
 * that. Models, records and a report are left in the run's folder.
 *
 * @throws ConfigError, FormatError, NumericError, on one line
 */
export function train(options: TrainOptions, surroundings: TrainSurroundings): Promise<TrainedRun> {
  return trainBy(runExperiment, options, surroundings);
}

/** Takes a run of any experiment from its options to its report. */
export async function trainBy(
  experiment: Experiment,
  options: TrainOptions,
  surroundings: TrainSurroundings,
): Promise<TrainedRun> {
  const kept = options.resume === undefined ? undefined : resumeRun(options.resume, options);
  const { backend: name } = kept?.settings ?? newSettings(options);
  const opened = await surroundings.open({ name, threads: options.threads });
  try {
    const run = kept ?? (await startRun(options, opened, surroundings));
    const lines = [opened.line, ...introduction(run)];
    for (const line of lines) surroundings.progress.write(`${line}\n`);
    const stopAfter = options.stopAfter ?? null;
    return await runIn({ ...run, opened, stopAfter }, surroundings, experiment);
  } finally {
    await opened.backend.dispose();
  }
}

async function runIn(
  context: Run & Pick<ExperimentContext, "opened" | "stopAfter">,
  { progress, signal, now }: TrainSurroundings,
  experiment: Experiment,
): Promise<TrainedRun> {
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
  return {
    figures: figuresOf(result, summary, folder),
    table: resultTable(result, summary),
  };
}

type Run = Pick<ExperimentContext, "settings" | "text" | "folder">;

/** Makes the folder last, so that nothing is left behind by options that do not hold. */
async function startRun(
  options: TrainOptions,
  { name, backend }: Worker,
  { date, workingFolder }: TrainSurroundings,
): Promise<Run> {
  const chosen = newSettings({ ...options, backend: name });
  const text = loadText(options.text ?? null, chosen.training.sequenceLength);
  await tryOut(chosen, backend);
  const folder = await createRunFolder(options.out ?? datedFolder(date(), workingFolder));
  const settings: Settings = { ...chosen, text: text.files, textDigest: text.digest };
  writeSettings(folder.settings, settings);
  return { settings, text, folder };
}

function resumeRun(path: string, options: TrainOptions): Run {
  const folder = existingRunFolder(path);
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
