import type { RunFolder } from "./folder.ts";
import type { ExperimentResult, StepRecord } from "./result.ts";
import type { Settings } from "./settings.ts";
import type { Text } from "./text.ts";
import type { Worker } from "./worker.ts";

/** What the command line hands to an experiment, and where the experiment tells how it goes. */
export interface ExperimentContext {
  /** `steps` is null where the experiment has to fix it, from the time of its first steps. */
  readonly settings: Settings;
  readonly text: Text;
  /** Where all tensors live; its owner disposes it. */
  readonly opened: Worker;
  /** Exists; a checkpoint in it is to be continued, without one the run starts at its first step. */
  readonly folder: RunFolder;
  /** Steps of the schedule after which to save and stop; null for all of them. */
  readonly stopAfter: number | null;
  /** Aborts at Ctrl-C: the step under way is finished and everything is saved. */
  readonly signal: AbortSignal;
  /**
   * To be called once, before the first step. It saves the length of the schedule, cuts the
   * records back to the steps that are done, and starts the progress line.
   *
   * @param steps length of the schedule.
   * @param done steps that the checkpoint holds; 0 without one.
   * @throws ConfigError where `--stop-after` has been passed already.
   * @throws FormatError where the records do not reach as far as the checkpoint.
   */
  begin(steps: number, done: number): void;
  /** Takes the record of one step of one model; those of all models come before the next step's. */
  step(record: StepRecord): void;
  /** To be called before a checkpoint is written: returns once all records are on the disk. */
  flush(): void;
  /** Shows a line that stays. */
  note(line: string): void;
}

/** Trains the models and compares them, or goes on with that. */
export type Experiment = (context: ExperimentContext) => Promise<ExperimentResult>;
