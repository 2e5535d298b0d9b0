import type { PresetName } from "./presets.ts";

/** What a run is to be; what is left out is the preset's, or the usual. */
export interface TrainOptions {
  /** Sizes of the models; `anchor` unless given, on the reference backend `small`. */
  readonly preset?: PresetName;
  /** Time for all models together, in the place of the preset's steps. */
  readonly minutes?: number;
  /** Length of the schedule, in the place of `minutes`. */
  readonly steps?: number;
  /** Steps of the schedule after which to save and stop. */
  readonly stopAfter?: number;
  /** Name of a backend, or `auto`. */
  readonly backend?: string;
  /** Threads of the backend, where it has any to count. */
  readonly threads?: number;
  /** Absolute path of the run's new folder; one under `runs/`, named by date and time, unless given. */
  readonly out?: string;
  /** Seed of everything random. */
  readonly seed?: number;
  /** E, of the sparse and the hashed model. */
  readonly experts?: number;
  /** k, of the sparse and the hashed model. */
  readonly topK?: number;
  /** Router of the sparse model: a name of {@link routerNames}. */
  readonly router?: string;
  /** What keeps its load even: a name of {@link balanceNames}. */
  readonly balance?: string;
  /** Absolute paths of texts, each a domain; the installed TypeScript's unless given. */
  readonly text?: readonly string[];
  /** Absolute path of a run to go on with. */
  readonly resume?: string;
}
