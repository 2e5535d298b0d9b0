import { type GradientsOf, NumericError, type Tensor, leavesOf } from "@moiety/core";
import { type ClipGroup, type GradientNorms, gradientNorms, scaleByGroups } from "./clip.ts";
import type { TrainingEvent } from "./event.ts";
import { type StepGradients, gradientsOf } from "./gradients.ts";
import type { Control, Observed } from "./loss.ts";
import { type TrainOptions, clipGroupsOf, microBatchesOf } from "./options.ts";
import { disposeTree } from "./owned.ts";
import { readNumbers } from "./readings.ts";
import type { TrainingSnapshot } from "./snapshot.ts";

/**
 * The training loop: takes the steps from `start.step` to `start.steps`, and yields an event after
 * each. Once a step it waits for the device, for loss, gradient norm and loads together, and checks
 * that loss and norm are finite before anything is changed. The same start gives the same bits,
 * whether it comes from `startTraining` or from a file.
 *
 * Stopping is clean at every event: leave the loop, or abort the signal; the last event's snapshot
 * holds everything.
 *
 * @throws NumericError naming the step, when loss or gradient norm is not finite: the snapshot of
 *   the event before is unharmed
 * @throws ConfigError for options that make no sense
 *
 * @example
 * for await (const { step, loss, snapshot } of train({ start, loss, optimizer, batch, clip: 1 })) {
 *   console.log(step, loss);
 *   if (step % 100 === 0) await saveTraining("run/checkpoint", snapshot);
 * }
 */
export async function* train<Params, State, Batch>(
  options: TrainOptions<Params, State, Batch>,
): AsyncGenerator<TrainingEvent<Params, State>, TrainingSnapshot<Params, State>, undefined> {
  microBatchesOf(options.microBatches);
  let snapshot = options.start;
  while (snapshot.step < snapshot.steps && options.signal?.aborted !== true) {
    const event = await takeStep(options, snapshot);
    snapshot = event.snapshot;
    yield event;
  }
  return snapshot;
}

async function takeStep<Params, State, Batch>(
  options: TrainOptions<Params, State, Batch>,
  before: TrainingSnapshot<Params, State>,
): Promise<TrainingEvent<Params, State>> {
  const { optimizer, schedule, now = Date.now } = options;
  const started = now();
  const learningRate = schedule?.(before.step) ?? optimizer.learningRate;
  const found = await gradientsOf(options, before);
  const groups = clipGroupsOf(options.clip);
  const { norm, groupNorms } = measured(found, groups);
  let { grads } = found;
  try {
    const names = Object.keys(found.parts);
    const parts = names.map((name) => found.parts[name] as Tensor);
    const numbers = await readNumbers([found.loss, norm, ...groupNorms, ...parts], found.loads);
    const [loss = Number.NaN, gradientNorm = Number.NaN, ...rest] = numbers.scalars;
    const step = before.step + 1;
    const lossParts = Object.fromEntries(
      names.map((name, index) => [name, rest[groupNorms.length + index] ?? Number.NaN]),
    );
    requireFinite(step, loss, gradientNorm, lossParts);
    const norms = rest.slice(0, groups.length);
    grads = scaleByGroups(grads, groups, norms, norm.dtype);
    const snapshot = update(options, before, grads, found, learningRate);
    const seconds = (now() - started) / 1000;
    return {
      step,
      loss,
      lossParts,
      learningRate,
      gradientNorm,
      groupNorms: norms,
      loads: numbers.loads,
      tokens: found.tokens,
      seconds,
      tokensPerSecond:
        found.tokens === undefined || seconds <= 0 ? undefined : found.tokens / seconds,
      snapshot,
    };
  } finally {
    const { loss, parts, loads, routings } = found;
    disposeTree([loss, parts, loads, routings, grads, norm, groupNorms]);
  }
}

function measured<Params>(
  found: StepGradients<Params>,
  groups: readonly ClipGroup[],
): GradientNorms {
  try {
    return gradientNorms(found.grads, groups);
  } catch (error) {
    disposeTree(found);
    throw error;
  }
}

function update<Params, State, Batch>(
  { optimizer, control }: TrainOptions<Params, State, Batch>,
  before: TrainingSnapshot<Params, State>,
  grads: GradientsOf<Params>,
  { loads, routings, tokens }: StepGradients<Params>,
  learningRate: number,
): TrainingSnapshot<Params, State> {
  // The state comes first: should the controller throw, nothing has been consumed yet.
  const state = control
    ? controlled(control, before.state, loads, { routings, tokens })
    : before.state;
  const step = before.step + 1;
  const { params, state: moments } = optimizer.update({
    params: before.params,
    grads,
    state: before.optimizer,
    learningRate,
    step,
  });
  if (state !== before.state) disposeTree(before.state, state);
  return { ...before, params, state, optimizer: moments, step };
}

function controlled<State>(
  control: Control<State>,
  state: State,
  loads: readonly Tensor[],
  observed: Observed,
): State {
  const backend = loads[0]?.backend ?? firstBackend(state);
  const run = (): State => control(state, loads, observed);
  return backend ? backend.scope(run) : run();
}

function firstBackend(tree: unknown): Tensor["backend"] | undefined {
  for (const { leaf } of leavesOf(tree)) return "codes" in leaf ? leaf.codes.backend : leaf.backend;
  return undefined;
}

function requireFinite(
  step: number,
  loss: number,
  gradientNorm: number,
  parts: Readonly<Record<string, number>>,
): void {
  if (Number.isFinite(loss) && Number.isFinite(gradientNorm)) return;
  const reported = Object.entries(parts).map(([name, value]) => `, ${name} ${value}`);
  throw new NumericError(
    `step ${step}: loss ${loss}${reported.join("")}, gradient norm ${gradientNorm}; nothing was ` +
      "updated. Go on from the last snapshot with a smaller learning rate, a longer warm-up or " +
      "tighter clipping",
  );
}
