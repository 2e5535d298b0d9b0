import { foldIn, hostBits } from "@moiety/core";
import type { RandomKey } from "@moiety/core";
import type { Domain } from "./domain.ts";
import { choice, streamKey } from "./random-choice.ts";
import type { Settings } from "./settings.ts";
import { readWindows } from "./windows.ts";
import type { Batch, Window } from "./windows.ts";

/** Rows of a training batch and predictions of a row. */
export interface BatchShape {
  readonly rows: number;
  readonly length: number;
}

/**
 * The batch of one training step: for each row a domain, drawn uniformly, and in its training part
 * a start, drawn uniformly. It depends on the key and the step alone, so nothing has to be saved
 * to continue a run.
 */
export function trainingBatch(
  domains: readonly Domain[],
  key: RandomKey,
  step: number,
  shape: BatchShape,
): Batch {
  const bits = hostBits(foldIn(key, step), 2 * shape.rows);
  const windows = Array.from({ length: shape.rows }, (_, row): Window => {
    const domain = choice(bits[2 * row] ?? 0, domains.length);
    const bytes = domains[domain]?.training.length ?? 0;
    return { domain, start: choice(bits[2 * row + 1] ?? 0, bytes - shape.length) };
  });
  return readWindows(domains, "training", windows, shape.length);
}

/** The batches of a run, by step. */
export function trainingBatches(
  { seed, training }: Pick<Settings, "seed" | "training">,
  domains: readonly Domain[],
): (step: number) => Batch {
  const key = streamKey(seed, "batches");
  const shape = { rows: training.batchSize, length: training.sequenceLength };
  return (step) => trainingBatch(domains, key, step, shape);
}
