/**
 * Routers: which experts each token goes to, and with what weights.
 * @packageDocumentation
 */
export { type AdaptiveRouter, type AdaptiveRouterOptions, adaptiveRouter } from "./adaptive.ts";
export { type AssignmentOptions, balancedAssignment } from "./assignment.ts";
export { type BaseOptions, type ShapedExperts, baseExperts, baseRouter, baseSpec } from "./base.ts";
export {
  type CapacityPreset,
  type DeepspeedCapacityOptions,
  type GshardCapacityOptions,
  type MegatronCapacityOptions,
  type TutelCapacityOptions,
  type VmoeCapacityOptions,
  deepspeedCapacity,
  gshardCapacity,
  megatronCapacity,
  switchCapacity,
  tutelCapacity,
  tutelPlaces,
  vmoeCapacity,
} from "./capacity-presets.ts";
export { type CapacityRule, capacityStage } from "./capacity-stage.ts";
export { routerCatalogue } from "./catalogue.ts";
export type {
  CatalogueRouter,
  CausalRule,
  RouterCatalogueOptions,
  RouterEntry,
  RouterNeed,
} from "./catalogue/entry.ts";
export {
  type CosineGateOptions,
  type CosineGateParams,
  type CosineRouterOptions,
  cosineGate,
  cosineRouter,
  cosineSpec,
} from "./cosine-gate.ts";
export { type DeepseekV3Options, deepseekV3Router, deepseekV3Spec } from "./deepseek-v3.ts";
export {
  type DeepspeedOptions,
  type DeepspeedTop1Options,
  type DeepspeedTop2Options,
  type DeepspeedTopKOptions,
  deepspeedSpec,
  deepspeedTop1Router,
  deepspeedTop1Stages,
  deepspeedTop2Router,
  deepspeedTop2Stages,
  deepspeedTopKRouter,
  deepspeedTopKStages,
} from "./deepspeed.ts";
export {
  type DepthAveragedGateOptions,
  type DepthAveragedGateParams,
  type ZayaOptions,
  depthAveragedGate,
  zayaRouter,
  zayaSpec,
} from "./depth-averaged-gate.ts";
export {
  type ExpertChoiceOptions,
  type ExpertChoiceRouter,
  type ExpertChoiceState,
  expertChoiceRouter,
} from "./expert-choice.ts";
export {
  type ThresholdController,
  type ThresholdControllerOptions,
  thresholdController,
} from "./expert-choice-controller.ts";
export { type ChosenTokens, chooseTokens } from "./expert-choice-places.ts";
export { type ExpertScaleParams, scaledRouter } from "./expert-scale.ts";
export type { ExpertTable } from "./expert-table.ts";
export { type NoParams, flatGate } from "./flat-gate.ts";
export {
  type ForcedBalanceOptions,
  type ForcedBalanceRouterOptions,
  type ReplayableRouter,
  forceBalance,
  forcedBalanceRouter,
} from "./forced-balance.ts";
export type { Gate, GateOutput, ShapedRouter, ShapesOf } from "./gate.ts";
export { type GshardOptions, gshardRouter, gshardSpec } from "./gshard.ts";
export {
  type HeterogeneousCapacity,
  applyHeterogeneousCapacity,
  heterogeneousPlaces,
} from "./heterogeneous-capacity.ts";
export {
  type HierarchicalOptions,
  type HierarchicalParams,
  type HierarchicalRouter,
  type HierarchyLevelOptions,
  type HierarchyLevelParams,
  hierarchicalRouter,
} from "./hierarchical.ts";
export type { LevelSpec } from "./hierarchy.ts";
export { type InklingOptions, inklingRouter, inklingSpec } from "./inkling.ts";
export { type LinearGateOptions, type LinearGateParams, linearGate } from "./linear-gate.ts";
export {
  type LinearRouter,
  type LinearRouterOptions,
  type LinearRouterParams,
  type LinearRouterState,
  linearRouter,
} from "./linear-router.ts";
export { type MegatronOptions, megatronRouter, megatronSpec } from "./megatron.ts";
export { type MixtralOptions, mixtralRouter, mixtralSpec } from "./mixtral.ts";
export { type MlpGateLayer, type MlpGateOptions, type MlpGateParams, mlpGate } from "./mlp-gate.ts";
export {
  type MoePlusPlusOptions,
  type MoePlusPlusParams,
  moePlusPlusRouter,
  moePlusPlusSpec,
} from "./moe-plus-plus.ts";
export { type NllbOptions, nllbPlaces, nllbRouter, nllbSpec } from "./nllb.ts";
export {
  type NoiseCall,
  type NoisyLogits,
  type RouterNoise,
  gaussianNoise,
  gumbelNoise,
  learnedNoise,
  perExpertNoise,
} from "./noise.ts";
export { type NoisyTopKOptions, noisyTopKRouter, noisyTopKSpec } from "./noisy-top-k.ts";
export {
  type Gemma4Options,
  type NormedGateOptions,
  type NormedGateParams,
  gemma4Router,
  gemma4Spec,
  normedGate,
} from "./normed-gate.ts";
export {
  type OverflowOptions,
  type OverflowRouterOptions,
  type OverflowThreshold,
  overflowRouter,
  overflowStages,
  overflowState,
} from "./overflow.ts";
export {
  type OverflowController,
  type OverflowControllerOptions,
  overflowController,
} from "./overflow-controller.ts";
export {
  type PreviousGateOptions,
  type PreviousGateParams,
  previousGate,
} from "./previous-gate.ts";
export {
  type DogeOptions,
  type ProductKeyGateOptions,
  type ProductKeyGateParams,
  dogeRouter,
  dogeSpec,
  productKeyGate,
  productKeyHalves,
} from "./product-key-gate.ts";
export { type QwenMoeOptions, qwenMoeRouter, qwenMoeSpec } from "./qwen-moe.ts";
export { type ReinforceOptions, type ReinforceParams, reinforceRouter } from "./reinforce.ts";
export { type ReluOptions, reluRouter } from "./relu.ts";
export { type RoutingRecord, checkRecord, recordRouting, replayRouter } from "./replay.ts";
export type { SecondExpertPolicy } from "./second-expert.ts";
export {
  type SinkhornNormOptions,
  type SinkhornOptions,
  sinkhorn,
  sinkhornRouter,
  sinkhornSpec,
} from "./sinkhorn.ts";
export { type SoftOptions, type SoftParams, type SoftRouter, softRouter } from "./soft.ts";
export { type SoftNorm, type SoftNormParams } from "./soft-norm.ts";
export {
  type SparseMixerOptions,
  sparseMixerRouter,
  sparseMixerSpec,
  sparseMixerStages,
} from "./sparse-mixer.ts";
export { type StMoeOptions, stMoeRouter, stMoeSpec } from "./st-moe.ts";
export {
  type ConstantState,
  type NoiseParams,
  type ReplayContext,
  type StageCall,
  type StageOptions,
  type StagedRouter,
  type StagedRouterOptions,
  type StagedRouterState,
  stagedRouter,
} from "./staged-router.ts";
export { type SwitchOptions, switchRouter, switchSpec } from "./switch.ts";
export {
  type DeepseekV4HashOptions,
  type HashRouterOptions,
  type TableRouterOptions,
  deepseekV4HashRouter,
  deepseekV4HashSpec,
  hashRouter,
  tableRouter,
} from "./table.ts";
export {
  type LearnedTableOptions,
  type TokenGateOptions,
  type TokenGateParams,
  learnedTableRouter,
  tokenGate,
} from "./token-gate.ts";
export { requireTokenIds } from "./token-ids.ts";
export { type TopPOptions, topPRouter } from "./top-p.ts";
export { type TutelOptions, tutelRouter, tutelSpec } from "./tutel.ts";
export { type VmoeOptions, vmoeRouter, vmoeSpec } from "./vmoe.ts";
export { type ZeroExperts, zeroAwareWeights } from "./zero-aware.ts";
