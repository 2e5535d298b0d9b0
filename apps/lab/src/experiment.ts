import type { Backend } from "@moiety/core";
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
import { modelOf, sizesOf } from "./model-config.ts";
import { type Stream, streamKey } from "./random-choice.ts";
import type { Ending, Evaluation, ExperimentResult, ModelName, ModelResult } from "./result.ts";
import { type Progress, loadProgress, modelFolder, saveProgress } from "./run-checkpoint.ts";
import { writeModel } from "./saved-models.ts";
import { evaluationSteps } from "./schedule.ts";
import type { Settings } from "./settings.ts";
import { modelSize, routerSize } from "./size.ts";
import { mean } from "./statistics.ts";
import { type Twins, forTwins, modelNames } from "./twins.ts";
import type { Window } from "./windows.ts";

/**
 * The lab's first experiment: a sparse model, a dense one, and one whose experts go by a fixed hash of
 * the byte learn the same batches, with equally many active parameters, and are compared on the same
 * held-out windows. Does sparsity pay, does the router, are the experts used evenly, which expert
 * speaks which language?
 */
export const runExperiment: Experiment = async (context) => {
  const { settings, text } = context;
  const { backend } = context.opened;
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
  const trained = await trainTwins(context, learners, start, held);
  return conclude(context, learners, trained, held);
};

/** The hashed model begins where the sparse one does, but for the router. */
const streams: Twins<Stream> = { sparse: "sparse", dense: "dense", hash: "sparse" };

function learnersOf(settings: Settings, backend: Backend): Twins<Learner> {
  return forTwins((name) => {
    const key = streamKey(settings.seed, streams[name]);
    return createLearner(name, modelOf(name, settings), settings, key, backend);
  });
}

function beginning(learners: Twins<Learner>, steps: number): Progress {
  return {
    snapshots: forTwins((name) => learners[name].start(steps)),
    seconds: forTwins(() => 0),
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
  readonly final: Twins<Evaluation> | undefined;
}

async function trainTwins(
  context: ExperimentContext,
  learners: Twins<Learner>,
  start: Progress,
  held: HeldOut,
): Promise<Trained> {
  const { settings, text, signal } = context;
  const { steps, step: done } = start.snapshots.sparse;
  const last = Math.min(steps, context.stopAfter ?? steps);
  const marks = new Set(evaluationSteps(steps, settings.evaluation.evaluations));
  const part = partOfWindows(held.windows, settings.evaluation.partOfWindows);
  const batchOf = trainingBatches(settings, text.domains);
  const events = forTwins((name) => learners[name].learn(start.snapshots[name], batchOf));
  let progress = start;
  let final: Twins<Evaluation> | undefined;
  for (let step = done + 1; step <= last && !signal.aborted; step++) {
    const taken = await inTurn((name) => next(events[name]));
    const { seconds } = progress;
    progress = {
      snapshots: forTwins((name) => taken[name].snapshot),
      seconds: forTwins((name) => seconds[name] + taken[name].seconds),
    };
    const windows = step === steps ? held.windows : part;
    const current = progress;
    final = marks.has(step)
      ? await inTurn((name) => score(context, learners[name], current, windows, held))
      : undefined;
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
  learners: Twins<Learner>,
  { progress, ending, final }: Trained,
  held: HeldOut,
): Promise<ExperimentResult> {
  const { settings, text, folder } = context;
  const saved = await inTurn((name) => {
    const { params, state } = progress.snapshots[name];
    return writeModel(modelFolder(name, folder), { ...learners[name].configured, params, state });
  });
  const digests = forTwins((name) => saved[name].digest);
  await saveProgress(context, progress, digests);
  const notes = modelNames.flatMap((name) =>
    saved[name].warnings.map((warning) => `the ${name} model: ${warning}`),
  );
  const models = await inTurn(async (name) => {
    const evaluation =
      ending === "interrupted"
        ? null
        : (final?.[name] ?? (await score(context, learners[name], progress, held.windows, held)));
    return resultOf(learners[name], settings, progress, evaluation);
  });
  for (const line of notes) context.note(line);
  const { steps, step } = progress.snapshots.sparse;
  return {
    settings,
    steps,
    stepsDone: step,
    ending,
    seconds: modelNames.reduce((total, name) => total + progress.seconds[name], 0),
    worker: context.opened.worker,
    textSource: text.source,
    domains: text.domains.map(({ name, title, training, heldOut }) => ({
      name,
      title,
      trainingBytes: training.length,
      heldOutBytes: heldOut.length,
    })),
    windowDomains: held.windows.map(({ domain }) => domain),
    models,
    notes,
  };
}

function resultOf(
  { name, configured }: Learner,
  settings: Settings,
  { snapshots, seconds }: Progress,
  evaluation: Evaluation | null,
): ModelResult {
  const { batchSize, sequenceLength } = settings.training;
  const tokens = snapshots[name].step * batchSize * sequenceLength;
  const router = routerSize(configured.model);
  return {
    ...modelSize(sizesOf(name, settings), sequenceLength, router),
    tokensPerSecond: seconds[name] > 0 ? tokens / seconds[name] : 0,
    evaluation,
  };
}

async function score(
  { settings, text }: ExperimentContext,
  { name, evaluated }: Learner,
  { snapshots }: Progress,
  windows: readonly Window[],
  { backend }: HeldOut,
): Promise<Evaluation> {
  const { batchSize, sequenceLength } = settings.training;
  const batchesOfWindows = heldOutBatches(text.domains, windows, batchSize, sequenceLength);
  const { params, state } = snapshots[name];
  const model = { model: evaluated, params, state };
  return evaluate(model, batchesOfWindows, text.domains.length, backend);
}

/** Does something with each model, one after the other. */
async function inTurn<T>(take: (name: ModelName) => Promise<T>): Promise<Twins<T>> {
  return { sparse: await take("sparse"), dense: await take("dense"), hash: await take("hash") };
}

async function next(events: AsyncGenerator<LearnerEvent, Snapshot>): Promise<LearnerEvent> {
  const { value, done } = await events.next();
  if (done) throw new Error("the schedule ended before the run did");
  return value;
}
