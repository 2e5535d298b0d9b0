import {
  type Backend,
  type RandomKey,
  type Tensor,
  apply,
  crossEntropy,
  div,
  sum,
} from "@moiety/core";
import { biasController, totalLoss } from "@moiety/losses";
import type {
  ConfiguredModel,
  DecoderContext,
  DecoderModel,
  DecoderParams,
  DecoderState,
} from "@moiety/models";
import {
  type Control,
  type LossFunction,
  type TrainingEvent,
  type TrainingSnapshot,
  adamW,
  biasControl,
  startTraining,
  train,
  warmupCosine,
} from "@moiety/train";
import { bitsPerNat } from "./evaluation.ts";
import type { ModelName, StepRecord } from "./result.ts";
import type { Settings } from "./settings.ts";
import type { Batch } from "./windows.ts";

/** Everything that a step of one of the models changes. */
export type Snapshot = TrainingSnapshot<DecoderParams, DecoderState>;

/** One step of one of the models. */
export type LearnerEvent = TrainingEvent<DecoderParams, DecoderState>;

/** A batch on the backend: `ids [rows, length]`, `targets [rows · length]`. */
export interface DeviceBatch {
  readonly ids: Tensor;
  readonly targets: Tensor;
}

/** One of the two models, and how it learns. */
export interface Learner {
  readonly name: ModelName;
  readonly configured: ConfiguredModel;
  /** Fresh parameters before the first step of a schedule. */
  start(steps: number): Snapshot;
  /** Takes the steps that are left of a snapshot's schedule. */
  learn(
    start: Snapshot,
    batchOf: (step: number) => Batch,
  ): AsyncGenerator<LearnerEvent, Snapshot, undefined>;
}

/** Puts a model together with the settings' optimizer, schedule and balance. */
export function createLearner(
  name: ModelName,
  configured: ConfiguredModel,
  settings: Settings,
  key: RandomKey,
  backend: Backend,
): Learner {
  const { training } = settings;
  const { model } = configured;
  const optimizer = adamW({
    learningRate: training.peakLearningRate,
    betas: [training.beta1, training.beta2],
    epsilon: training.epsilon,
    weightDecay: training.weightDecay,
  });
  return {
    name,
    configured,
    start: (steps) => startTraining({ ...model.init(key, { backend }), optimizer, steps, key }),
    learn: (start, batchOf) =>
      train({
        start,
        optimizer,
        loss: lossOf(model),
        batch: (step) => upload(batchOf(step), backend),
        clip: training.clipNorm,
        control: controlOf(name, settings),
        schedule: warmupCosine({
          peak: training.peakLearningRate,
          warmupSteps: training.warmupSteps,
          totalSteps: start.steps,
          finalFraction: training.finalLearningRate,
        }),
      }),
  };
}

/** What a step is recorded as. */
export function recordOf(name: ModelName, event: LearnerEvent): StepRecord {
  const { step, loss, lossParts, learningRate, gradientNorm, loads, tokensPerSecond } = event;
  return {
    step,
    model: name,
    loss,
    bitsPerByte: (lossParts["crossEntropy"] ?? Number.NaN) * bitsPerNat,
    balanceLoss: loss - (lossParts["crossEntropy"] ?? Number.NaN),
    learningRate,
    gradientNorm,
    tokensPerSecond: tokensPerSecond ?? 0,
    load: loads.map((load) => [...load]),
  };
}

/** Puts a batch on a backend. */
export function upload({ inputs, targets, rows, length }: Batch, backend: Backend): DeviceBatch {
  return {
    ids: backend.tensor(inputs, { shape: [rows, length] }),
    targets: backend.tensor(targets),
  };
}

/**
 * What a model minimises: mean cross-entropy and balance losses. Choices in `selected`, one tensor
 * for each layer with experts, are played back instead of made.
 */
export function lossOf(
  model: DecoderModel,
  selected?: DecoderContext["selected"],
): LossFunction<DecoderParams, DecoderState, DeviceBatch> {
  return (params, state, { ids, targets }, key) => {
    const context = { training: true, key, selected };
    const { logits, losses, loads } = apply(model, params, state, ids, context);
    const predictions = targets.size;
    const each = crossEntropy(logits.reshape([predictions, logits.shape.at(-1) ?? 0]), targets);
    const entropy = div(sum(each), predictions);
    return {
      loss: totalLoss(losses, entropy),
      parts: { crossEntropy: entropy },
      loads,
      tokens: predictions,
    };
  };
}

/** Moves the selection biases of the sparse model after each step, where that is its balance. */
function controlOf(
  name: ModelName,
  { balance, model }: Settings,
): Control<DecoderState> | undefined {
  if (balance !== "bias" || name === "dense") return undefined;
  return biasControl(biasController({ rate: model.biasUpdateRate }));
}
