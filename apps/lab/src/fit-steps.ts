import { disposeTree } from "@moiety/train";
import { trainingBatches } from "./batches.ts";
import type { ExperimentContext } from "./experiment-context.ts";
import type { Learner, Snapshot } from "./learner.ts";
import { stepsWithin } from "./schedule.ts";
import { type Twins, modelNames } from "./twins.ts";

/** Trial steps of each model by which a time is turned into a number of steps; the first warms up. */
const trialSteps = 4;

/** Times a few steps on parameters that are thrown away, and fits the schedule to the minutes. */
export async function fitSteps(
  { settings, text }: Pick<ExperimentContext, "settings" | "text">,
  learners: Twins<Learner>,
  windows: number,
): Promise<number> {
  const started = performance.now();
  const batchOf = trainingBatches(settings, text.domains);
  const trials = new Array<number>(trialSteps).fill(0);
  for (const name of modelNames) {
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
