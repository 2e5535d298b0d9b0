import { ConfigError } from "@moiety/core";

/** The learning rate of a step; steps count from 0. A pure function, so resuming changes nothing. */
export type Schedule = (step: number) => number;

/** Sizes of a schedule with a warm-up and an end. */
export interface WarmupOptions {
  /** The learning rate after the warm-up. */
  readonly peak: number;
  /** Steps over which it rises linearly to the peak: step s has (s + 1) / warmupSteps of it. */
  readonly warmupSteps: number;
  /** Steps after which the end is reached; it stays there. */
  readonly totalSteps: number;
  /** The end, as a fraction of the peak; 0 unless given. */
  readonly finalFraction?: number | undefined;
}

/** The same rate at every step. */
export function constant(learningRate: number): Schedule {
  requireRate("learningRate", learningRate);
  return () => learningRate;
}

/**
 * Linear warm-up times a cosine: at step s of n, with the end at fraction f of the peak,
 * `peak · min(1, (s + 1) / warmupSteps) · (f + (1 − f) / 2 · (1 + cos(π s / n)))`.
 *
 * @throws ConfigError for sizes that make no sense
 */
export function warmupCosine(options: WarmupOptions): Schedule {
  return warmedUp(options, (progress) => (1 + Math.cos(Math.PI * progress)) / 2);
}

/**
 * Linear warm-up times a straight line from the peak down to its final fraction.
 *
 * @throws ConfigError for sizes that make no sense
 */
export function warmupLinear(options: WarmupOptions): Schedule {
  return warmedUp(options, (progress) => 1 - progress);
}

function warmedUp(options: WarmupOptions, fall: (progress: number) => number): Schedule {
  const { peak, warmupSteps, totalSteps, finalFraction = 0 } = options;
  requireRate("peak", peak);
  requireCount("warmupSteps", warmupSteps, 0);
  requireCount("totalSteps", totalSteps, 1);
  requireRate("finalFraction", finalFraction);
  return (step) => {
    const warm = warmupSteps === 0 ? 1 : Math.min(1, (step + 1) / warmupSteps);
    const progress = Math.min(1, step / totalSteps);
    return peak * warm * (finalFraction + (1 - finalFraction) * fall(progress));
  };
}

function requireRate(key: string, value: number): void {
  if (Number.isFinite(value) && value >= 0) return;
  throw new ConfigError(`schedule: ${key} is ${value}, but must be at least 0`, key, value);
}

function requireCount(key: string, value: number, least: number): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new ConfigError(
    `schedule: ${key} is ${value}, but must be a whole number of at least ${least}`,
    key,
    value,
  );
}
