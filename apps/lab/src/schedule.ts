import type { EvaluationSettings, TrainingSettings } from "./presets.ts";

/** What a step count is fitted to. */
export interface TimeBudget {
  /** Seconds of single trial steps of all models together. */
  readonly trialSeconds: readonly number[];
  /** Seconds that are left for training and evaluation. */
  readonly seconds: number;
  /** Held-out windows of the last evaluation. */
  readonly windows: number;
  readonly training: Pick<TrainingSettings, "batchSize">;
  readonly evaluation: Pick<EvaluationSettings, "evaluations" | "partOfWindows">;
}

/** A forward pass over this of a training step's time, forward and backward and update. */
const forwardPart = 1 / 3;

/**
 * The number of steps that fill a time, evaluations included; at least one. The median of the
 * trials counts, so a single slow one does not shorten the run.
 */
export function stepsWithin(budget: TimeBudget): number {
  const sorted = [...budget.trialSeconds].sort((a, b) => a - b);
  const middle = Math.floor((sorted.length - 1) / 2);
  const median = ((sorted[middle] ?? 0) + (sorted[sorted.length - 1 - middle] ?? 0)) / 2;
  const { evaluations, partOfWindows } = budget.evaluation;
  const windows = budget.windows * (1 + (evaluations - 1) * partOfWindows);
  const spentOnEvaluation = (windows / budget.training.batchSize) * forwardPart;
  const steps = Math.floor(budget.seconds / median - spentOnEvaluation);
  return Number.isFinite(steps) ? Math.max(1, steps) : 1;
}

/** The steps after which the models are evaluated, evenly over the schedule, the last one among them. */
export function evaluationSteps(steps: number, evaluations: number): readonly number[] {
  const marks = Array.from({ length: evaluations }, (_, index) =>
    Math.round((steps * (index + 1)) / evaluations),
  );
  return [...new Set(marks)].filter((step) => step > 0);
}
