import { ConfigError, type Leaf } from "@moiety/core";
import type { ClipGroup } from "./clip.ts";
import type { Control, LossFunction } from "./loss.ts";
import type { Optimizer } from "./optimizer.ts";
import type { Schedule } from "./schedule.ts";
import type { TrainingSnapshot } from "./snapshot.ts";

/** What of an `AbortSignal` is used, so that no DOM types are needed. */
export interface AbortSignalLike {
  readonly aborted: boolean;
}

/** What a training loop is made of. */
export interface TrainOptions<Params, State, Batch> {
  /** From `startTraining`, or a loaded one. Consumed by the first step. */
  readonly start: TrainingSnapshot<Params, State>;
  readonly loss: LossFunction<Params, State, Batch>;
  readonly optimizer: Optimizer;
  /**
   * The data of a step (counted from 0) and micro-batch. Must depend on these two alone, or a
   * resumed run goes another way. The loop frees the tensors in it after use.
   */
  readonly batch: (step: number, microBatch: number) => Batch | Promise<Batch>;
  /** The learning rate of each step; the optimizer's own unless given. */
  readonly schedule?: Schedule | undefined;
  /** Largest norm of the whole gradient, or of groups of it. No clipping unless given. */
  readonly clip?: number | readonly ClipGroup[] | undefined;
  /** Micro-batches whose gradients are averaged for one step; 1 unless given. */
  readonly microBatches?: number | undefined;
  /** Runs after the loss is known to be finite and before the update. */
  readonly control?: Control<State> | undefined;
  /** Leaves that do not train, by path. */
  readonly frozen?: ((path: string, leaf: Leaf) => boolean) | undefined;
  /** When it aborts, the step under way is finished and the loop ends. */
  readonly signal?: AbortSignalLike | undefined;
  /** A clock in milliseconds; `Date.now` unless given. It is reported and decides nothing. */
  readonly now?: (() => number) | undefined;
}

/** The clip groups of an option. */
export function clipGroupsOf(
  clip: number | readonly ClipGroup[] | undefined,
): readonly ClipGroup[] {
  if (clip === undefined) return [];
  return typeof clip === "number" ? [{ match: () => true, maxNorm: clip }] : clip;
}

/** The number of micro-batches. @throws ConfigError */
export function microBatchesOf(count: number | undefined): number {
  if (count === undefined) return 1;
  if (Number.isInteger(count) && count >= 1) return count;
  throw new ConfigError(
    `microBatches is ${count}, but must be a whole number of at least 1`,
    "microBatches",
    count,
  );
}
