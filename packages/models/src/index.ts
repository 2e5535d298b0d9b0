/**
 * Decoder-only language models with experts; each family is one data literal.
 * @packageDocumentation
 */
export { type BoundModel, bindSource } from "./bind-source.ts";
export { bindModel } from "./bindings.ts";
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
export { type HeadSizes, headSizes } from "./decoder/attention.ts";
export type * from "./decoder/attention-config.ts";
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
export { generate } from "./generate.ts";
export { type GenerateOptions, DEFAULT_PREFILL_CHUNK } from "./generation/options.ts";
export { ignoredTensors } from "./ignored.ts";
export { initModel } from "./init-model.ts";
export type { LoadProgress } from "./load-progress.ts";
export { type LoadOptions, type ModelSource, type ReadyModel, loadModel } from "./load.ts";
export { type QuantizationError, quantizationError } from "./quantize/error.ts";
export {
  type ExpertFormat,
  type Quantization,
  type RestDType,
  type RestFormat,
  expertFormats,
  restFormats,
} from "./quantize/quantization.ts";
export { type QuantizeOptions, quantize } from "./quantize/quantize.ts";
export { blockRules, modelRules } from "./rules.ts";
export { type SampleOptions, sampleIndex } from "./sample.ts";
export { type ModelContent, modelEntries, saveModel } from "./save.ts";
export { expertLayers, expertLayersIn } from "./trace/expert-layers.ts";
export { parseTrace, traceLine } from "./trace/lines.ts";
export { MOST_DRAWN_TOKENS, type TraceReportOptions, traceReport } from "./trace/report/report.ts";
export type { ExpertLayer, RoutedLayer, RoutedToken } from "./trace/routed-token.ts";
export {
  MOST_COACTIVE,
  type LayerStatistics,
  type RoutingCounter,
  type RoutingStatistics,
  routingStatistics,
} from "./trace/statistics.ts";
export { type TraceOptions, traceRoutings } from "./trace/trace-routings.ts";
export { mapShapes, shapesByPath } from "./tree.ts";
