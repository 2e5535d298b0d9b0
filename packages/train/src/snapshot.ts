import { ConfigError, type RandomKey } from "@moiety/core";
import type { Optimizer, OptimizerState } from "./optimizer.ts";

/** All that a run goes on from: the same snapshot gives the same bits. */
export interface TrainingSnapshot<Params, State> {
  readonly params: Params;
  readonly state: State;
  readonly optimizer: OptimizerState<Params>;
  /** Steps done. */
  readonly step: number;
  /** Length of the run, and of its schedule. */
  readonly steps: number;
  /** Where every step's random numbers come from. */
  readonly key: RandomKey;
}

/** What a new run is made of. */
export interface StartOptions<Params, State> {
  readonly params: Params;
  readonly state: State;
  readonly optimizer: Optimizer;
  readonly steps: number;
  readonly key: RandomKey;
}

/**
 * The snapshot before the first step. It owns parameters and state from here on.
 *
 * @throws ConfigError for a number of steps that makes no sense
 */
export function startTraining<Params, State>(
  options: StartOptions<Params, State>,
): TrainingSnapshot<Params, State> {
  const { params, state, optimizer, steps, key } = options;
  if (!Number.isInteger(steps) || steps < 1) {
    throw new ConfigError(
      `training needs a whole number of steps of at least 1, not ${steps}`,
      "steps",
      steps,
    );
  }
  return { params, state, optimizer: optimizer.init(params), step: 0, steps, key };
}
