import {
  type BaseOptions,
  type CosineRouterOptions,
  type DeepseekV3Options,
  type DeepseekV4HashOptions,
  type DeepspeedTop1Options,
  type DeepspeedTop2Options,
  type DeepspeedTopKOptions,
  type DogeOptions,
  type ExpertChoiceOptions,
  type Gemma4Options,
  type GshardOptions,
  type HashRouterOptions,
  type HierarchicalOptions,
  type InklingOptions,
  type LearnedTableOptions,
  type MegatronOptions,
  type MixtralOptions,
  type MoePlusPlusOptions,
  type NllbOptions,
  type NoisyTopKOptions,
  type OverflowRouterOptions,
  type QwenMoeOptions,
  type ReinforceOptions,
  type ReluOptions,
  type SinkhornOptions,
  type SoftOptions,
  type SparseMixerOptions,
  type StMoeOptions,
  type SwitchOptions,
  type TopPOptions,
  type TutelOptions,
  type VmoeOptions,
  type ZayaOptions,
  baseRouter,
  cosineRouter,
  deepseekV3Router,
  deepseekV4HashRouter,
  deepspeedTop1Router,
  deepspeedTop2Router,
  deepspeedTopKRouter,
  dogeRouter,
  expertChoiceRouter,
  gemma4Router,
  gshardRouter,
  hashRouter,
  hierarchicalRouter,
  inklingRouter,
  learnedTableRouter,
  megatronRouter,
  mixtralRouter,
  moePlusPlusRouter,
  nllbRouter,
  noisyTopKRouter,
  overflowRouter,
  qwenMoeRouter,
  reinforceRouter,
  reluRouter,
  sinkhornRouter,
  softRouter,
  sparseMixerRouter,
  stMoeRouter,
  switchRouter,
  topPRouter,
  tutelRouter,
  vmoeRouter,
  zayaRouter,
} from "@moiety/routers";

/** Options of the presets that a configuration may name, by their names. */
export interface PresetOptions {
  readonly base: BaseOptions;
  readonly cosine: CosineRouterOptions;
  readonly deepseekV3: DeepseekV3Options;
  readonly deepseekV4Hash: DeepseekV4HashOptions;
  readonly deepspeedTop1: DeepspeedTop1Options;
  readonly deepspeedTop2: DeepspeedTop2Options;
  readonly deepspeedTopK: DeepspeedTopKOptions;
  readonly doge: DogeOptions;
  readonly expertChoice: ExpertChoiceOptions;
  readonly gemma4: Gemma4Options;
  readonly gshard: GshardOptions;
  readonly hash: HashRouterOptions;
  readonly hierarchical: Omit<HierarchicalOptions, "inputSize"> & { readonly hiddenSize: number };
  readonly inkling: InklingOptions;
  readonly learnedTable: LearnedTableOptions;
  readonly megatron: MegatronOptions;
  readonly mixtral: MixtralOptions;
  readonly moePlusPlus: MoePlusPlusOptions;
  readonly nllb: NllbOptions;
  readonly noisyTopK: NoisyTopKOptions;
  readonly overflow: OverflowRouterOptions;
  readonly qwenMoe: QwenMoeOptions;
  readonly reinforce: ReinforceOptions;
  readonly relu: ReluOptions;
  readonly sinkhorn: SinkhornOptions;
  readonly soft: SoftOptions;
  readonly sparseMixer: SparseMixerOptions;
  readonly stMoe: StMoeOptions;
  readonly switch: SwitchOptions;
  readonly topP: TopPOptions;
  readonly tutel: TutelOptions;
  readonly vmoe: VmoeOptions;
  readonly zaya: ZayaOptions;
}

/** The presets by their names. */
export const presets: {
  readonly [Kind in keyof PresetOptions]: (options: PresetOptions[Kind]) => {
    readonly shapes: unknown;
  };
} = {
  base: baseRouter,
  cosine: cosineRouter,
  deepseekV3: deepseekV3Router,
  deepseekV4Hash: deepseekV4HashRouter,
  deepspeedTop1: deepspeedTop1Router,
  deepspeedTop2: deepspeedTop2Router,
  deepspeedTopK: deepspeedTopKRouter,
  doge: dogeRouter,
  expertChoice: expertChoiceRouter,
  gemma4: gemma4Router,
  gshard: gshardRouter,
  hash: hashRouter,
  hierarchical: ({ hiddenSize, ...rest }) => hierarchicalRouter({ ...rest, inputSize: hiddenSize }),
  inkling: inklingRouter,
  learnedTable: learnedTableRouter,
  megatron: megatronRouter,
  mixtral: mixtralRouter,
  moePlusPlus: moePlusPlusRouter,
  nllb: nllbRouter,
  noisyTopK: noisyTopKRouter,
  overflow: overflowRouter,
  qwenMoe: qwenMoeRouter,
  reinforce: reinforceRouter,
  relu: reluRouter,
  sinkhorn: sinkhornRouter,
  soft: softRouter,
  sparseMixer: sparseMixerRouter,
  stMoe: stMoeRouter,
  switch: switchRouter,
  topP: topPRouter,
  tutel: tutelRouter,
  vmoe: vmoeRouter,
  zaya: zayaRouter,
};
