import {
  type Backend,
  type LossValue,
  type RandomKey,
  type Tensor,
  apply,
  crossEntropy,
  div,
  neg,
  stopGradient,
  sum,
} from "@moiety/core";
import { totalLoss } from "@moiety/losses";
import {
  type ConfiguredModel,
  type DecoderContext,
  type DecoderModel,
  type DecoderOutput,
  type DecoderParams,
  type DecoderState,
  causalDecoder,
  decoder,
} from "@moiety/models";
import {
  type LossFunction,
  type TrainingEvent,
  type TrainingSnapshot,
  adamW,
  startTraining,
  train,
  warmupCosine,
} from "@moiety/train";
import { bitsPerNat } from "./evaluation.ts";
import type { ModelName, StepRecord } from "./result.ts";
import { routerControl } from "./router-control.ts";
import { type RoutingLosses, routingLosses } from "./routing-losses.ts";
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

/** One of the models, and how it learns. */
export interface Learner {
  readonly name: ModelName;
  readonly configured: ConfiguredModel;
  /** The same model as it is evaluated: no token sees a later one, whatever training does. */
  readonly evaluated: DecoderModel;
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
    evaluated: decoder(causalDecoder(model.config)),
    start: (steps) => startTraining({ ...model.init(key, { backend }), optimizer, steps, key }),
    learn: (start, batchOf) =>
      train({
        start,
        optimizer,
        loss: lossOf(model, name === "sparse" ? { losses: routingLosses(settings) } : {}),
        batch: (step) => upload(batchOf(step), backend),
        clip: training.clipNorm,
        control: name === "sparse" ? routerControl(settings) : undefined,
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

/** What a step's loss is made of beside the model. */
export interface LossParts {
  /** Losses of routings beside those of the model's configuration. */
  readonly losses?: RoutingLosses;
  /** Choices to be played back instead of made, one tensor for each layer with experts. */
  readonly selected?: DecoderContext["selected"];
}

/** What a model minimises: mean cross-entropy and losses of routings. */
export function lossOf(
  model: DecoderModel,
  { losses, selected }: LossParts = {},
): LossFunction<DecoderParams, DecoderState, DeviceBatch> {
  return (params, state, { ids, targets }, key) => {
    const context = { training: true, key, selected };
    const output = apply(model, params, state, ids, context);
    const { logits, loads, routings } = output;
    const predictions = targets.size;
    const each = crossEntropy(logits.reshape([predictions, logits.shape.at(-1) ?? 0]), targets);
    const entropy = div(sum(each), predictions);
    const others = losses ? valuesOf(losses, output, each) : [];
    return {
      loss: totalLoss([...output.losses, ...others], entropy),
      parts: { crossEntropy: entropy },
      loads,
      routings,
      tokens: predictions,
    };
  };
}

function valuesOf(losses: RoutingLosses, { routings }: DecoderOutput, each: Tensor): LossValue[] {
  return losses(neg(stopGradient(each))).map(({ name, coefficient, evaluate }) => ({
    name,
    coefficient,
    value: evaluate(routings),
  }));
}
