/**
 * Decoder-only language models with experts; each family is one data literal.
 * @packageDocumentation
 */
export { type ModelLoss, causalLoss, modelLoss } from "./causal-loss.ts";
export { type ConfigDocuments, completeConfig } from "./complete-config.ts";
export type { ConfigReader } from "./config-reader.ts";
export { causalDecoder } from "./decoder/causal.ts";
export {
  type CacheOptions,
  type KeyValueCache,
  type LayerCache,
  disposeCache,
  donateCache,
  emptyCache,
} from "./decoder/cache.ts";
export type * from "./decoder/config.ts";
export {
  type DecoderContext,
  type DecoderModel,
  type DecoderOutput,
  decoder,
} from "./decoder/decoder.ts";
export { routingLoss } from "./decoder/losses.ts";
export { type DecoderMoe, type MoePart, moePart } from "./decoder/moe-layer.ts";
export type * from "./decoder/params.ts";
export type { PresetOptions } from "./decoder/presets.ts";
export type { DecoderRouter } from "./decoder/router.ts";
export { type Extension, readExtension } from "./extension.ts";
export { families, familyOf } from "./families/index.ts";
export type { Family, FamilyBlock, FamilyDecoder, FamilyLoss, SupportedValues } from "./family.ts";
export {
  type BlockOptions,
  type ConfiguredBlock,
  type ConfiguredModel,
  type ModelConfig,
  blockFromConfig,
  modelFromConfig,
} from "./from-config.ts";
export { type GenerateOptions, generate } from "./generate.ts";
export { initModel } from "./init-model.ts";
export { type LoadOptions, type ModelSource, type ReadyModel, loadModel } from "./load.ts";
export { blockRules, modelRules } from "./rules.ts";
export { type SampleOptions, sampleIndex } from "./sample.ts";
export { type ModelContent, modelEntries, saveModel } from "./save.ts";
export { mapShapes, shapesByPath } from "./tree.ts";
