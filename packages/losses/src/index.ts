/**
 * Losses that keep experts evenly used, and controllers that do it without a gradient.
 * @packageDocumentation
 */
export {
  type BiasController,
  type BiasControllerOptions,
  type SelectionBiasState,
  biasController,
} from "./bias-controller.ts";
export type { CatalogueOptions, CatalogueText, ControllerEntry, LossEntry } from "./catalogue.ts";
export type { ChoiceBalanceOptions } from "./choice-balance.ts";
export { controllerCatalogue } from "./controller-catalogue.ts";
export { deepseekExpertBalance } from "./deepseek-balance.ts";
export { type DeepspeedBalanceOptions, deepspeedBalance } from "./deepspeed-balance.ts";
export {
  type CommunicationBalanceOptions,
  type DeviceBalanceOptions,
  deepseekCommunicationBalance,
  deepseekDeviceBalance,
} from "./device-balance.ts";
export type { Devices } from "./devices.ts";
export { dogeBalance } from "./doge-balance.ts";
export {
  type EntropyLossOptions,
  type TokenEntropyLossOptions,
  entropyLoss,
  tokenEntropyLoss,
} from "./entropy-loss.ts";
export { flaxformerBalance } from "./flaxformer-balance.ts";
export {
  type GlobalBatchBalanceOptions,
  accumulateLoads,
  globalBatchBalance,
} from "./global-batch-balance.ts";
export { type GshardBalanceOptions, gshardBalance } from "./gshard-balance.ts";
export { type HuggingFaceBalanceOptions, huggingFaceBalance } from "./hugging-face-balance.ts";
export { huggingFaceSwitchBalance } from "./hugging-face-switch-balance.ts";
export { type ImportanceCvOptions, importanceCv } from "./importance-cv.ts";
export { injectGradient, injectLosses } from "./inject-losses.ts";
export { type LoadCvOptions, loadCv } from "./load-cv.ts";
export { lossCatalogue } from "./loss-catalogue.ts";
export { megablocksBalance, megatronBalance } from "./megatron-balance.ts";
export { type MutualInformationOptions, mutualInformation } from "./mutual-information.ts";
export { nllbBalance } from "./nllb-balance.ts";
export type { BalanceOptions, LossOptions } from "./options.ts";
export type { Counted, Probabilities } from "./product.ts";
export {
  type QuantileController,
  type QuantileControllerOptions,
  quantileController,
} from "./quantile-controller.ts";
export { type ReinforceLossOptions, choiceLogProbability, reinforceLoss } from "./reinforce.ts";
export {
  type ReluController,
  type ReluControllerOptions,
  type ReluSparsityOptions,
  type SparsityState,
  reluController,
  reluSparsity,
} from "./relu-controller.ts";
export { sequenceBalance } from "./sequence-balance.ts";
export { type StMoeBalanceOptions, stMoeBalance } from "./st-moe-balance.ts";
export { type SwitchBalanceOptions, switchBalance } from "./switch-balance.ts";
export type { Target } from "./target.ts";
export { totalLoss } from "./total-loss.ts";
export type { VariationOptions } from "./variation.ts";
export { type VmoeLossesOptions, vmoeLosses } from "./vmoe-losses.ts";
export { zLoss } from "./z-loss.ts";
