import type { JsonObject } from "@moiety/checkpoints";
import { type ConfiguredModel, modelFromConfig } from "@moiety/models";
import { denseModel } from "./presets.ts";
import type { ModelName } from "./result.ts";
import type { Settings } from "./settings.ts";

/** The sparse or the dense model of a run: an OLMoE, the dense one with a single expert. */
export function modelOf(name: ModelName, { model, balance, training }: Settings): ConfiguredModel {
  const sizes = name === "sparse" ? model : denseModel(model);
  const values: JsonObject = {
    model_type: "olmoe",
    vocab_size: sizes.vocabSize,
    hidden_size: sizes.hiddenSize,
    num_hidden_layers: sizes.numHiddenLayers,
    num_attention_heads: sizes.numAttentionHeads,
    num_key_value_heads: sizes.numKeyValueHeads,
    intermediate_size: sizes.intermediateSize,
    num_experts: sizes.numExperts,
    num_experts_per_tok: sizes.numExpertsPerTok,
    norm_topk_prob: sizes.normTopkProb,
    rms_norm_eps: sizes.rmsNormEps,
    rope_theta: sizes.ropeTheta,
    tie_word_embeddings: sizes.tieWordEmbeddings,
    initializer_range: sizes.initializerRange,
    max_position_embeddings: training.sequenceLength,
    router_aux_loss_coef: balance === "switch" && name === "sparse" ? sizes.routerAuxLossCoef : 0,
    ...(balance === "bias" && name === "sparse" && { moiety: { selection_bias: true } }),
  };
  return modelFromConfig(values);
}
