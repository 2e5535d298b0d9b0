export { catalogueText } from "./catalogue-text.ts";
export type { LoadFigures, ModelFigures, PairFigures, RunFigures } from "./figures.ts";
export {
  type UsualOptions,
  balanceNames,
  presetNames,
  routerNames,
  usualOptions,
} from "./names.ts";
export type { TrainOptions } from "./options.ts";
export type { EvaluationSettings, ModelSettings, PresetName, TrainingSettings } from "./presets.ts";
export type { ProgressOutput } from "./progress.ts";
export type { Ending, ModelName, ModelResult } from "./result.ts";
export type { Settings } from "./settings.ts";
export type { Comparison, Verdict } from "./statistics.ts";
export { type TrainedRun, type TrainSurroundings, train } from "./train.ts";
export type { Worker, WorkerChoice } from "./worker.ts";
