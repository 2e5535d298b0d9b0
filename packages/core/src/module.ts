import type { Backend } from "./contract.ts";
import type { FloatDType } from "./dtype.ts";
import type { Forward } from "./forward.ts";
import type { RandomKey } from "./random.ts";

/** Where and how parameters are made. */
export interface InitOptions {
  readonly backend: Backend;
  /** Dtype of the parameters; `f32` unless given. */
  readonly dtype?: FloatDType | undefined;
}

/** What a module starts from. `state` (controllers' biases, baselines) gets no gradient or decay. */
export interface Initialized<Params, State> {
  readonly params: Params;
  readonly state: State;
}

/**
 * A part of a model: it makes its parameters and runs on them, and keeps nothing itself.
 * `forward` is a generator, so that one text serves `apply` and `applyAsync`.
 */
export interface Module<Params, State, Args extends readonly unknown[], Result> {
  /** Draws parameters on the host, so that they are bit-equal on every backend. */
  init(key: RandomKey, options: InitOptions): Initialized<Params, State>;
  /** Runs on parameters and state; drained by `apply` or `applyAsync`. */
  forward(params: Params, state: State, ...args: Args): Forward<Result>;
}
