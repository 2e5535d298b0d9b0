import type { RandomKey, Routing, Tensor } from "@moiety/core";

/** What a loss function gives. All tensors may be traced; the loop takes them out of the gradient. */
export interface LossResult {
  /** Scalar: what is minimised, coefficients included. */
  readonly loss: Tensor;
  /** Scalars to report by name, such as the cross-entropy and each balance loss. */
  readonly parts?: Readonly<Record<string, Tensor>> | undefined;
  /** `[E]` i32 for each MoE layer: assignments per expert. Summed over micro-batches. */
  readonly loads?: readonly Tensor[] | undefined;
  /** Of each MoE layer, for controls that learn from more than loads. Freed once the control has run. */
  readonly routings?: readonly Routing[] | undefined;
  /** Tokens that were processed, for the speed. */
  readonly tokens?: number | undefined;
}

/**
 * The loss of one micro-batch. Synchronous, and pure: what is random comes from the key, which
 * follows from the run's key, the step and the micro-batch.
 */
export type LossFunction<Params, State, Batch> = (
  params: Params,
  state: State,
  batch: Batch,
  key: RandomKey,
) => LossResult;

/** What the loss function saw in a step beside loads. */
export interface Observed {
  /** `[layer][micro-batch]`: what it gave as `routings`. */
  readonly routings: readonly (readonly Routing[])[];
  /** Tokens of the step, where it gave them. */
  readonly tokens: number | undefined;
}

/**
 * Turns loads and routings into new state between steps (DeepSeek-V3's bias). Gives the state with
 * new tensors where something changed; those that it no longer holds are freed.
 */
export type Control<State> = (state: State, loads: readonly Tensor[], observed: Observed) => State;
