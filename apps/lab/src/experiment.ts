import type { Backend } from "@moiety/core";
import { disposeTree } from "@moiety/train";
import { loadTrainings, saveTrainings } from "@moiety/train/node";
import { existsSync } from "node:fs";
import { createBackend } from "./backends.ts";
import { trainingBatch } from "./batches.ts";
import { evaluate } from "./evaluation.ts";
import type { Experiment, ExperimentContext } from "./experiment-context.ts";
import { heldOutBatches, heldOutWindows, partOfWindows } from "./held-out.ts";
import {
  type Learner,
  type LearnerEvent,
  type Snapshot,
  createLearner,
  recordOf,
} from "./learner.ts";
import { modelOf } from "./model-config.ts";
import { denseModel } from "./presets.ts";
import { streamKey } from "./random-choice.ts";
import type { Ending, Evaluation, ExperimentResult, ModelName, ModelResult } from "./result.ts";
import { verifyModel, writeModel } from "./saved-models.ts";
import { evaluationSteps, stepsWithin } from "./schedule.ts";
import type { Settings } from "./settings.ts";
import { modelSize } from "./size.ts";
import type { Batch, Window } from "./windows.ts";

/** Both models, side by side. */
type Pair<T> = Readonly<Record<ModelName, T>>;

/** Where a run stands. */
interface Progress {
  readonly snapshots: Pair<Snapshot>;
  /** Seconds of training so far, of each model. */
  readonly seconds: Pair<number>;
}

/** What stands beside the snapshots in a checkpoint. */
interface SavedProgress extends Pick<Progress, "seconds"> {
  /** Digests of the model folders, where they hold the same step. */
  readonly digests?: Pair<string> | undefined;
}

/** Trial steps of each model by which a time is turned into a number of steps; the first warms up. */
const trialSteps = 4;

const names: readonly ModelName[] = ["sparse", "dense"];

/**
 * The lab's first experiment: a sparse and a dense model of equal active parameters learn the same
 * batches and are compared on the same held-out windows. Does sparsity pay, are the experts used
 * evenly, which expert speaks which language?
 */
export const runExperiment: Experiment = async (context) => {
  const { settings, text } = context;
  const backend = await createBackend(settings.backend);
  try {
    const learners = learnersOf(settings, backend);
    const windows = heldOutWindows(
      text.domains,
      streamKey(settings.seed, "heldOut"),
      settings.evaluation.windows,
      settings.training.sequenceLength,
    );
    const start = await startOf(context, learners, backend, windows.length);
    context.begin(start.snapshots.sparse.steps, start.snapshots.sparse.step);
    const held = { windows, backend };
    const { progress, ending } = await trainPair(context, learners, start, held);
    return await conclude(context, learners, progress, ending, held);
  } finally {
    await backend.dispose();
  }
};

function learnersOf(settings: Settings, backend: Backend): Pair<Learner> {
  const make = (name: ModelName): Learner =>
    createLearner(name, modelOf(name, settings), settings, streamKey(settings.seed, name), backend);
  return { sparse: make("sparse"), dense: make("dense") };
}

/** The checkpoint of a run that goes on, or a fresh start of as many steps as there is time for. */
async function startOf(
  context: ExperimentContext,
  learners: Pair<Learner>,
  backend: Backend,
  windows: number,
): Promise<Progress> {
  const { settings, folder } = context;
  if (existsSync(folder.checkpoint)) {
    const { snapshots, metadata } = await loadTrainings(
      folder.checkpoint,
      backend,
      undefined,
      names,
    );
    const { seconds, digests } = metadata as unknown as SavedProgress;
    for (const name of names) await verifyModel(folderOf(name, folder), digests?.[name]);
    return { snapshots: snapshots as unknown as Pair<Snapshot>, seconds };
  }
  const steps = settings.steps ?? (await fitSteps(context, learners, windows));
  const snapshots = { sparse: learners.sparse.start(steps), dense: learners.dense.start(steps) };
  return { snapshots, seconds: { sparse: 0, dense: 0 } };
}

/** Times a few steps on parameters that are thrown away, and fits the schedule to the minutes. */
async function fitSteps(
  { settings, text }: ExperimentContext,
  learners: Pair<Learner>,
  windows: number,
): Promise<number> {
  const started = performance.now();
  const batchOf = batches(settings, text.domains);
  const trials = new Array<number>(trialSteps).fill(0);
  for (const name of names) {
    const events = learners[name].learn(learners[name].start(trialSteps), batchOf);
    let last: Snapshot | undefined;
    for await (const { step, seconds, snapshot } of events) {
      trials[step - 1] = (trials[step - 1] ?? 0) + seconds;
      last = snapshot;
    }
    disposeTree(last);
  }
  const spent = (performance.now() - started) / 1000;
  return stepsWithin({
    trialSeconds: trials.slice(1),
    seconds: (settings.minutes ?? 0) * 60 - spent,
    windows,
    training: settings.training,
    evaluation: settings.evaluation,
  });
}

interface HeldOut {
  readonly windows: readonly Window[];
  readonly backend: Backend;
}

async function trainPair(
  context: ExperimentContext,
  learners: Pair<Learner>,
  start: Progress,
  held: HeldOut,
): Promise<{ progress: Progress; ending: Ending }> {
  const { settings, text, signal } = context;
  const { steps, step: done } = start.snapshots.sparse;
  const last = Math.min(steps, context.stopAfter ?? steps);
  const marks = new Set(evaluationSteps(steps, settings.evaluation.evaluations));
  const part = partOfWindows(held.windows, settings.evaluation.partOfWindows);
  const batchOf = batches(settings, text.domains);
  const events = {
    sparse: learners.sparse.learn(start.snapshots.sparse, batchOf),
    dense: learners.dense.learn(start.snapshots.dense, batchOf),
  };
  let progress = start;
  for (let step = done + 1; step <= last && !signal.aborted; step++) {
    const taken = { sparse: await next(events.sparse), dense: await next(events.dense) };
    progress = {
      snapshots: { sparse: taken.sparse.snapshot, dense: taken.dense.snapshot },
      seconds: {
        sparse: progress.seconds.sparse + taken.sparse.seconds,
        dense: progress.seconds.dense + taken.dense.seconds,
      },
    };
    const marked = marks.has(step) && step < steps;
    for (const name of names) {
      const record = recordOf(name, taken[name]);
      const scored = marked
        ? {
            heldOutBitsPerByte: mean(
              (await score(context, learners[name], progress, part, held)).bitsPerByte,
            ),
          }
        : {};
      context.step({ ...record, ...scored });
    }
    if (marked) await save(context, progress);
  }
  await save(context, progress);
  const reached = progress.snapshots.sparse.step;
  const ending = reached === steps ? "finished" : reached >= last ? "stopped" : "interrupted";
  return { progress, ending };
}

/** Compares the models, unless the run was interrupted, and writes them. */
async function conclude(
  context: ExperimentContext,
  learners: Pair<Learner>,
  progress: Progress,
  ending: Ending,
  held: HeldOut,
): Promise<ExperimentResult> {
  const { settings, text, folder } = context;
  const write = async (name: ModelName) => {
    const { params, state } = progress.snapshots[name];
    return writeModel(folderOf(name, folder), { ...learners[name].configured, params, state });
  };
  const saved = { sparse: await write("sparse"), dense: await write("dense") };
  await save(context, progress, { sparse: saved.sparse.digest, dense: saved.dense.digest });
  const notes = names.flatMap((name) => saved[name].warnings);
  const models: Partial<Record<ModelName, ModelResult>> = {};
  for (const name of names) {
    const evaluation =
      ending === "interrupted"
        ? null
        : await score(context, learners[name], progress, held.windows, held);
    models[name] = resultOf(name, settings, progress, evaluation);
  }
  for (const line of notes) context.note(line);
  const { steps, step } = progress.snapshots.sparse;
  return {
    settings,
    steps,
    stepsDone: step,
    ending,
    seconds: progress.seconds.sparse + progress.seconds.dense,
    textSource: text.source,
    domains: text.domains.map(({ name, title, training, heldOut }) => ({
      name,
      title,
      trainingBytes: training.length,
      heldOutBytes: heldOut.length,
    })),
    windowDomains: held.windows.map(({ domain }) => domain),
    models: models as Pair<ModelResult>,
    notes,
  };
}

function resultOf(
  name: ModelName,
  { model, training }: Settings,
  { snapshots, seconds }: Progress,
  evaluation: Evaluation | null,
): ModelResult {
  const sizes = name === "sparse" ? model : denseModel(model);
  const tokens = snapshots[name].step * training.batchSize * training.sequenceLength;
  return {
    ...modelSize(sizes, training.sequenceLength),
    tokensPerSecond: seconds[name] > 0 ? tokens / seconds[name] : 0,
    evaluation,
  };
}

async function score(
  { settings, text }: ExperimentContext,
  { name, configured }: Learner,
  { snapshots }: Progress,
  windows: readonly Window[],
  { backend }: HeldOut,
): Promise<Evaluation> {
  const { batchSize, sequenceLength } = settings.training;
  const batchesOfWindows = heldOutBatches(text.domains, windows, batchSize, sequenceLength);
  const { params, state } = snapshots[name];
  const { model } = configured;
  return evaluate({ model, params, state }, batchesOfWindows, text.domains.length, backend);
}

/** Both models in one file, so that a run that is cut off never has them at different steps. */
async function save(
  { folder, flush }: ExperimentContext,
  { snapshots, seconds }: Progress,
  digests?: Pair<string>,
): Promise<void> {
  flush();
  const metadata = { seconds, ...(digests && { digests }) };
  await saveTrainings(folder.checkpoint, snapshots, { metadata });
}

function folderOf(name: ModelName, folder: ExperimentContext["folder"]): string {
  return name === "sparse" ? folder.model : folder.denseModel;
}

function batches(
  { seed, training }: Settings,
  domains: ExperimentContext["text"]["domains"],
): (step: number) => Batch {
  const key = streamKey(seed, "batches");
  const shape = { rows: training.batchSize, length: training.sequenceLength };
  return (step) => trainingBatch(domains, key, step, shape);
}

async function next(events: AsyncGenerator<LearnerEvent, Snapshot>): Promise<LearnerEvent> {
  const { value, done } = await events.next();
  if (done) throw new Error("the schedule ended before the run did");
  return value;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
