import type { JsonObject } from "@moiety/checkpoints";
import type { ConfigReader } from "../config-reader.ts";
import type { Family } from "../family.ts";
import { denseFirst, grouped, latentSizes } from "./attention.ts";
import { deepseekBlock, deepseekMoe, groupFill } from "./deepseek.ts";
import { deepseekV3Around, deepseekV3Decoder } from "./deepseek-v3.ts";
import { pooledBalance } from "./experts.ts";
import { llamaDecoder, llamaDefaults } from "./llama.ts";

const defaults: JsonObject = {
  hidden_act: "silu",
  hidden_size: 4096,
  initializer_range: 0.02,
  moe_intermediate_size: 1408,
  n_group: 1,
  n_routed_experts: 128,
  n_shared_experts: 1,
  norm_topk_prob: true,
  num_experts_per_tok: 8,
  routed_scaling_factor: 1,
  topk_group: 1,
};

/** GLM-4.5 (arXiv 2508.06471): part of each head is rotated, and the first layers are dense. */
export const glm4Moe: Family = {
  modelType: "glm4_moe",
  defaults: {
    ...llamaDefaults,
    ...defaults,
    attention_bias: false,
    first_k_dense_replace: 1,
    head_dim: null,
    intermediate_size: 10944,
    max_position_embeddings: 131072,
    num_attention_heads: 96,
    num_hidden_layers: 46,
    num_key_value_heads: 8,
    partial_rotary_factor: 0.5,
    rms_norm_eps: 1e-5,
    use_qk_norm: false,
    vocab_size: 151552,
  },
  block: { ...deepseekBlock, moe: (config) => deepseekMoe(config, {}, groupFill(config)) },
  decoder: {
    ...llamaDecoder,
    architecture: "Glm4MoeForCausalLM",
    supported: { ...llamaDecoder.supported, partial_rotary_factor: undefined },
    attention: (config) =>
      grouped(config, {
        headNorm: config.flag("use_qk_norm") ? "head" : "none",
        qkvBias: config.flag("attention_bias"),
        outputBias: false,
        rotaryDim: config.rotaryDim(),
      }),
    sparse: denseFirst,
    nextLayers: "num_nextn_predict_layers",
    floats: [...llamaDecoder.floats, "partial_rotary_factor", "routed_scaling_factor"],
  },
};

/** What the layers of GLM-4.7-Flash are: as `mlp_layer_types` says, else all but the first sparse. */
function isSparse(config: ConfigReader, layer: number): boolean {
  return (config.wordAt("mlp_layer_types", layer) ?? (layer > 0 ? "sparse" : "dense")) === "sparse";
}

/** GLM-4.7-Flash (2026): DeepSeek-V3's attention. */
export const glm4MoeLite: Family = {
  modelType: "glm4_moe_lite",
  defaults: {
    ...deepseekV3Around,
    ...defaults,
    // The class has no such key: files may only say what its layers are anyway.
    first_k_dense_replace: null,
    hidden_size: 2048,
    intermediate_size: 10240,
    max_position_embeddings: 202752,
    mlp_layer_types: null,
    moe_intermediate_size: 1536,
    n_routed_experts: 64,
    num_attention_heads: 20,
    num_experts_per_tok: 4,
    num_hidden_layers: 47,
    num_key_value_heads: 20,
    q_lora_rank: 768,
    qk_nope_head_dim: 192,
    rms_norm_eps: 1e-5,
    routed_scaling_factor: 1.8,
    v_head_dim: 256,
    vocab_size: 154880,
  },
  block: { ...deepseekBlock, moe: (config) => deepseekMoe(config) },
  decoder: {
    ...deepseekV3Decoder,
    architecture: "Glm4MoeLiteForCausalLM",
    supported: {
      ...deepseekV3Decoder.supported,
      first_k_dense_replace: [1],
      mlp_layer_types: ["dense", "sparse"],
    },
    sparse: isSparse,
    spelledOut: (config) => ({
      ...latentSizes(config),
      mlp_layer_types: Array.from({ length: config.count("num_hidden_layers") }, (_, layer) =>
        isSparse(config, layer) ? "sparse" : "dense",
      ),
    }),
  },
};

/** GLM-5; its block. */
export const glmMoeDsa: Family = {
  modelType: "glm_moe_dsa",
  defaults: {
    ...defaults,
    hidden_size: 6144,
    moe_intermediate_size: 2048,
    n_routed_experts: 256,
    routed_scaling_factor: 2.5,
  },
  block: { ...deepseekBlock, moe: (config) => deepseekMoe(config) },
};

/** GLM-4.5V; the block of its language model. */
export const glm4vMoe: Family = {
  modelType: "glm4v_moe",
  section: "text_config",
  defaults: { ...defaults, router_aux_loss_coef: 0.0001 },
  block: {
    ...glm4Moe.block,
    losses: pooledBalance,
    prefix: "model.language_model.layers.{layer}.mlp.",
  },
};
