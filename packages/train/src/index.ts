/**
 * Optimizers, clipping, schedules and the training loop.
 * @packageDocumentation
 */
export { addGradients, meanGradients } from "./accumulate.ts";
export { type AdamWOptions, adamW } from "./adamw.ts";
export { biasControl } from "./bias-control.ts";
export {
  type ClipGroup,
  type ClippedGradients,
  type GroupedGradients,
  clipByGlobalNorm,
  clipByGroups,
  globalNorm,
} from "./clip.ts";
export type { TrainingEvent } from "./event.ts";
export { type LayerControl, type LayerStep, layerControl } from "./layer-control.ts";
export type { Control, LossFunction, LossResult, Observed } from "./loss.ts";
export type { Optimizer, OptimizerResult, OptimizerState, OptimizerUpdate } from "./optimizer.ts";
export type { AbortSignalLike, TrainOptions } from "./options.ts";
export { disposeTree } from "./owned.ts";
export { quantileControl } from "./quantile-control.ts";
export {
  type Schedule,
  type WarmupOptions,
  constant,
  warmupCosine,
  warmupLinear,
} from "./schedule.ts";
export { type SgdOptions, sgd } from "./sgd.ts";
export { type StartOptions, type TrainingSnapshot, startTraining } from "./snapshot.ts";
export { sparsityControl } from "./sparsity-control.ts";
export { train } from "./train.ts";
