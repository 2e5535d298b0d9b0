/**
 * Banks of experts: plain and gated feed-forward networks, linear, latent, scaled, mixed, special,
 * adapted, quantised and attention experts, and shared experts.
 * @packageDocumentation
 */
export { type AttentionExperts, attentionExperts } from "./attention.ts";
export {
  type MoaContext,
  type MoaLayer,
  type MoaOptions,
  type MoaOutput,
  type MoaParams,
  moa,
} from "./attention-layer.ts";
export type {
  AttentionExpertsContext,
  AttentionExpertsOptions,
  AttentionExpertsParams,
  AttentionExpertsResult,
  KeyValues,
} from "./attention-types.ts";
export type { BankOptions, FfnBank, ShapedBank } from "./bank.ts";
export { type DenseFfn, type DenseFfnOptions, denseFfn } from "./dense.ts";
export { glu } from "./glu.ts";
export { type LatentOptions, type LatentParams, latentExperts } from "./latent.ts";
export { type LinearExpertsOptions, type LinearExpertsParams, linearExperts } from "./linear.ts";
export {
  type LoraBank,
  type LoraOptions,
  type LoraPair,
  type LoraParams,
  type LoraTarget,
  lora,
} from "./lora.ts";
export { type BanksOf, mixedExperts } from "./mixed.ts";
export { mlp } from "./mlp.ts";
export { type MultBiasParams, withMultBias } from "./mult-bias.ts";
export type { DenseOptions, FfnOptions, GateOptions } from "./options.ts";
export { type OutputBiasParams, withOutputBias } from "./output-bias.ts";
export type { FfnParams, GluParams, HeldFfnParams, MlpParams, QuantizedParams } from "./params.ts";
export { type HostQuantized, hostQuantize } from "./quantize.ts";
export { type QuantizedBank, type QuantizedOptions, quantizedExperts } from "./quantized.ts";
export { matrixParameter } from "./quantized-matrix.ts";
export { type ScaledOptions, type ScaledParams, scaledExperts, timesFactor } from "./scaled.ts";
export {
  type SharedExpert,
  type SharedExpertOptions,
  type SharedExpertParams,
  type SharedExpertShapes,
  sharedExpert,
} from "./shared.ts";
export type { ShapesOf } from "./shapes.ts";
export {
  type SpecialExperts,
  type SpecialOptions,
  type SpecialParams,
  withSpecialExperts,
} from "./special.ts";
export { throughRows } from "./through.ts";
export type { Wrapped } from "./wrap.ts";
