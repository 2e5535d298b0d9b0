import type { RunFolder } from "./folder.ts";
import type { LoadStatistics } from "./loads.ts";
import type { Ending, ExperimentResult, ModelName, ModelResult } from "./result.ts";
import type { Settings } from "./settings.ts";
import type { Comparison } from "./statistics.ts";
import type { PairSummary, Summary } from "./summary.ts";
import { type Twins, forTwins } from "./twins.ts";

/** What one model came to. */
export interface ModelFigures extends Omit<ModelResult, "evaluation"> {
  /** Absolute path of the model in Hugging Face's layout. */
  readonly folder: string;
  /** Mean over the held-out windows; null where the run was interrupted before the comparison. */
  readonly heldOutBitsPerByte: number | null;
  /** Experts that a held-out token met, on average over tokens and layers. */
  readonly expertsPerToken: number | null;
}

/** Two models on the same held-out windows; what is not finite is null in JSON. */
export interface PairFigures extends Comparison {
  readonly models: readonly [first: ModelName, second: ModelName];
}

/** How evenly the experts of a layer were used on the held-out windows. */
export interface LoadFigures extends Pick<LoadStatistics, "imbalance" | "evenness"> {
  readonly layer: number;
  /** Experts without any assignment. */
  readonly dead: readonly number[];
  /** Experts below a tenth of an even share, the dead ones among them. */
  readonly starved: readonly number[];
}

/** The final figures of a run; JSON holds them. */
export interface RunFigures {
  /** Absolute path of the run's folder. */
  readonly folder: string;
  /** Absolute path of the page to look at. */
  readonly report: string;
  readonly ending: Ending;
  /** Length of the schedule. */
  readonly steps: number;
  /** Steps that are done and saved. */
  readonly stepsDone: number;
  /** Seconds of training of all models, over all parts of a resumed run. */
  readonly seconds: number;
  /** What did the work, in words. */
  readonly worker: string;
  readonly textSource: string;
  readonly settings: Settings;
  readonly models: Twins<ModelFigures>;
  /** Empty where the run was interrupted before the comparison; so is `load`. */
  readonly comparisons: readonly PairFigures[];
  /** Of the sparse model. */
  readonly load: readonly LoadFigures[];
  /** What a reader must know, such as a tensor that other loaders would not read. */
  readonly notes: readonly string[];
}

/** Gathers the figures of a run. */
export function figuresOf(
  result: ExperimentResult,
  summary: Summary | null,
  folder: RunFolder,
): RunFigures {
  const { ending, steps, stepsDone, seconds, worker, textSource, settings, notes } = result;
  const folders = { sparse: folder.model, dense: folder.denseModel, hash: folder.hashModel };
  return {
    folder: folder.path,
    report: folder.report,
    ending,
    steps,
    stepsDone,
    seconds,
    worker,
    textSource,
    settings,
    models: forTwins((name) => {
      const { evaluation: _, ...sizes } = result.models[name];
      return {
        folder: folders[name],
        ...sizes,
        heldOutBitsPerByte: summary?.heldOut[name] ?? null,
        expertsPerToken: summary?.expertsMet[name] ?? null,
      };
    }),
    comparisons:
      summary === null ? [] : [summary.dense, summary.hash, summary.hashDense].map(pairFigures),
    load: summary?.layers.map(({ load }, layer) => loadFigures(load, layer)) ?? [],
    notes,
  };
}

function pairFigures({ first, second, overall }: PairSummary): PairFigures {
  return { models: [first, second], ...overall };
}

function loadFigures(load: LoadStatistics, layer: number): LoadFigures {
  const { imbalance, evenness, dead, starved } = load;
  return { layer, imbalance, evenness, dead, starved };
}
