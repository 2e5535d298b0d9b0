import type { TrainingSnapshot } from "./snapshot.ts";

/** What a finished step tells. */
export interface TrainingEvent<Params, State> {
  /** Steps done, this one included: 1 after the first. */
  readonly step: number;
  /** Mean over the micro-batches. */
  readonly loss: number;
  /** What the loss function reported by name, each a mean over the micro-batches. */
  readonly lossParts: Readonly<Record<string, number>>;
  readonly learningRate: number;
  /** Norm of the whole gradient before clipping. */
  readonly gradientNorm: number;
  /** Norm of each clip group before clipping, in the order of the groups. */
  readonly groupNorms: readonly number[];
  /** `[E]` of each MoE layer: assignments per expert in this step, padding left out. */
  readonly loads: readonly Int32Array[];
  /** Tokens of this step; `undefined` where the loss function does not tell. */
  readonly tokens: number | undefined;
  /** Wall time of the step, batches included. */
  readonly seconds: number;
  readonly tokensPerSecond: number | undefined;
  /**
   * Parameters, state and moments after the step. Its tensors are good until the next event is asked
   * for, which consumes them; those of the last event are the caller's.
   */
  readonly snapshot: TrainingSnapshot<Params, State>;
}
