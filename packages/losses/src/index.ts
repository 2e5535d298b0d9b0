/**
 * Losses that keep experts evenly used, and the controller that does it without a gradient.
 * @packageDocumentation
 */
export {
  type BiasController,
  type BiasControllerOptions,
  type SelectionBiasState,
  biasController,
} from "./bias-controller.ts";
export { type HuggingFaceBalanceOptions, huggingFaceBalance } from "./hugging-face-balance.ts";
export { huggingFaceSwitchBalance } from "./hugging-face-switch-balance.ts";
export { type ImportanceCvOptions, importanceCv } from "./importance-cv.ts";
export type { LossOptions } from "./options.ts";
export { type SwitchBalanceOptions, switchBalance } from "./switch-balance.ts";
export { totalLoss } from "./total-loss.ts";
export { zLoss } from "./z-loss.ts";
