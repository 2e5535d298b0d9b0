import type { Backend } from "@moiety/core";
import { createBackend, workerOf } from "./backends.ts";
import { trainingBatches } from "./batches.ts";
import { evaluate } from "./evaluation.ts";
import type { Experiment, ExperimentContext } from "./experiment-context.ts";
import { fitSteps } from "./fit-steps.ts";
import { heldOutBatches, heldOutWindows, partOfWindows } from "./held-out.ts";
import {
  type Learner,
  type LearnerEvent,
  type Snapshot,
  createLearner,
  recordOf,
} from "./learner.ts";
import { modelOf } from "./model-config.ts";
import { type Pair, modelNames } from "./pair.ts";
import { denseModel } from "./presets.ts";
import { streamKey } from "./random-choice.ts";
import type { Ending, Evaluation, ExperimentResult, ModelName, ModelResult } from "./result.ts";
import { type Progress, loadProgress, modelFolder, saveProgress } from "./run-checkpoint.ts";
import { writeModel } from "./saved-models.ts";
import { evaluationSteps } from "./schedule.ts";
import type { Settings } from "./settings.ts";
import { modelSize } from "./size.ts";
import type { Window } from "./windows.ts";

/**
 * The lab's first experiment: a sparse and a dense model of equal active parameters learn the same
 * batches and are compared on the same held-out windows. Does sparsity pay, are the experts used
 * evenly, which expert speaks which language?
 */
export const runExperiment: Experiment = async (context) => {
  const { settings, text } = context;
  const backend = await createBackend(settings.backend);
  try {
    const worker = workerOf(backend);
    if (worker !== undefined) context.note(worker);
    const learners = learnersOf(settings, backend);
    const windows = heldOutWindows(
      text.domains,
      streamKey(settings.seed, "heldOut"),
      settings.evaluation.windows,
      settings.training.sequenceLength,
    );
    const start =
      (await loadProgress(context.folder, backend)) ??
      beginning(learners, settings.steps ?? (await fitSteps(context, learners, windows.length)));
    context.begin(start.snapshots.sparse.steps, start.snapshots.sparse.step);
    const held = { windows, backend };
    const trained = await trainPair(context, learners, start, held);
    return await conclude(context, learners, trained, held);
  } finally {
    await backend.dispose();
  }
};

function learnersOf(settings: Settings, backend: Backend): Pair<Learner> {
  const make = (name: ModelName): Learner =>
    createLearner(name, modelOf(name, settings), settings, streamKey(settings.seed, name), backend);
  return { sparse: make("sparse"), dense: make("dense") };
}

function beginning({ sparse, dense }: Pair<Learner>, steps: number): Progress {
  return {
    snapshots: { sparse: sparse.start(steps), dense: dense.start(steps) },
    seconds: { sparse: 0, dense: 0 },
  };
}

interface HeldOut {
  readonly windows: readonly Window[];
  readonly backend: Backend;
}

/** How far the training came. */
interface Trained {
  readonly progress: Progress;
  readonly ending: Ending;
  /** The comparison after the schedule's last step, where it was taken just now. */
  readonly final: Pair<Evaluation> | undefined;
}

async function trainPair(
  context: ExperimentContext,
  learners: Pair<Learner>,
  start: Progress,
  held: HeldOut,
): Promise<Trained> {
  const { settings, text, signal } = context;
  const { steps, step: done } = start.snapshots.sparse;
  const last = Math.min(steps, context.stopAfter ?? steps);
  const marks = new Set(evaluationSteps(steps, settings.evaluation.evaluations));
  const part = partOfWindows(held.windows, settings.evaluation.partOfWindows);
  const batchOf = trainingBatches(settings, text.domains);
  const events = {
    sparse: learners.sparse.learn(start.snapshots.sparse, batchOf),
    dense: learners.dense.learn(start.snapshots.dense, batchOf),
  };
  let progress = start;
  let final: Pair<Evaluation> | undefined;
  for (let step = done + 1; step <= last && !signal.aborted; step++) {
    const taken = { sparse: await next(events.sparse), dense: await next(events.dense) };
    progress = {
      snapshots: { sparse: taken.sparse.snapshot, dense: taken.dense.snapshot },
      seconds: {
        sparse: progress.seconds.sparse + taken.sparse.seconds,
        dense: progress.seconds.dense + taken.dense.seconds,
      },
    };
    const windows = step === steps ? held.windows : part;
    final = undefined;
    if (marks.has(step)) {
      final = {
        sparse: await score(context, learners.sparse, progress, windows, held),
        dense: await score(context, learners.dense, progress, windows, held),
      };
    }
    for (const name of modelNames) {
      const heldOut = final && { heldOutBitsPerByte: mean(final[name].bitsPerByte) };
      context.step({ ...recordOf(name, taken[name]), ...heldOut });
    }
    if (final && step < last) await saveProgress(context, progress);
  }
  await saveProgress(context, progress);
  const reached = progress.snapshots.sparse.step;
  const ending = reached === steps ? "finished" : reached >= last ? "stopped" : "interrupted";
  return { progress, ending, final: reached === steps ? final : undefined };
}

/** Compares the models, unless the run was interrupted, and writes them. */
async function conclude(
  context: ExperimentContext,
  learners: Pair<Learner>,
  { progress, ending, final }: Trained,
  held: HeldOut,
): Promise<ExperimentResult> {
  const { settings, text, folder } = context;
  const write = async (name: ModelName) => {
    const { params, state } = progress.snapshots[name];
    return writeModel(modelFolder(name, folder), { ...learners[name].configured, params, state });
  };
  const saved = { sparse: await write("sparse"), dense: await write("dense") };
  await saveProgress(context, progress, { sparse: saved.sparse.digest, dense: saved.dense.digest });
  const notes = modelNames.flatMap((name) => saved[name].warnings);
  const models: Partial<Record<ModelName, ModelResult>> = {};
  for (const name of modelNames) {
    const evaluation =
      ending === "interrupted"
        ? null
        : (final?.[name] ?? (await score(context, learners[name], progress, held.windows, held)));
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

async function next(events: AsyncGenerator<LearnerEvent, Snapshot>): Promise<LearnerEvent> {
  const { value, done } = await events.next();
  if (done) throw new Error("the schedule ended before the run did");
  return value;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
