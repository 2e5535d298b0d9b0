import type { Settings } from "./settings.ts";

/**
 * Which of the three models: the one whose router is looked at, one without a choice, and one whose
 * choice is a fixed hash of the byte.
 */
export type ModelName = "sparse" | "dense" | "hash";

/** One line of `metrics.jsonl`: one training step of one model. */
export interface StepRecord {
  /** Steps done with this one: the first is 1. */
  readonly step: number;
  readonly model: ModelName;
  /** What was minimised, in nats: cross-entropy and the losses of routings. */
  readonly loss: number;
  /** Cross-entropy of this step's batch, before the update, in bits for each byte. */
  readonly bitsPerByte: number;
  /** The weighted losses of routings, in nats; 0 where there are none. */
  readonly balanceLoss: number;
  readonly learningRate: number;
  /** Norm of the gradient before clipping. */
  readonly gradientNorm: number;
  /** Tokens of this step's batch over the time that the step took. */
  readonly tokensPerSecond: number;
  /** Assignments of each expert in this step, `[layer][expert]`. */
  readonly load: readonly (readonly number[])[];
  /** Mean over held-out windows after this step; only where an evaluation took place. */
  readonly heldOutBitsPerByte?: number;
}

/** One model on the held-out windows. */
export interface Evaluation {
  /** Mean bits/byte of each window, in the order of the run's windows. */
  readonly bitsPerByte: readonly number[];
  /** Assignments, `[layer][domain][expert]`. */
  readonly load: readonly (readonly (readonly number[])[])[];
}

/** What one model came to. */
export interface ModelResult {
  /** All trained numbers; a tied embedding counts once. */
  readonly parameters: number;
  /** Those that one token meets, with as many experts as the settings say. */
  readonly activeParameters: number;
  /** Floating-point operations of a forward pass for one token, with as many experts. */
  readonly flopsPerToken: number;
  /** Training tokens over training time, held-out evaluations excluded. */
  readonly tokensPerSecond: number;
  /** Null where the run was interrupted before the comparison. */
  readonly evaluation: Evaluation | null;
}

/** One domain of the text, as the report shows it. */
export interface DomainResult {
  readonly name: string;
  readonly title: string;
  readonly trainingBytes: number;
  readonly heldOutBytes: number;
}

/** Why a run ended: all its steps are done, `--stop-after` was reached, or Ctrl-C came. */
export type Ending = "finished" | "stopped" | "interrupted";

/** All that the table and the report show, beside the step records. */
export interface ExperimentResult {
  readonly settings: Settings;
  /** Length of the schedule. */
  readonly steps: number;
  /** Steps that are done and saved. */
  readonly stepsDone: number;
  readonly ending: Ending;
  /** Seconds of training of all models, over all parts of a resumed run. */
  readonly seconds: number;
  /** What did the work, in words. */
  readonly worker: string;
  /** Where the text comes from, in words. */
  readonly textSource: string;
  readonly domains: readonly DomainResult[];
  /** Index of the domain of each held-out window. */
  readonly windowDomains: readonly number[];
  readonly models: Readonly<Record<ModelName, ModelResult>>;
  /** Lines that a reader must know, such as a tensor that other loaders would not read. */
  readonly notes: readonly string[];
}
